"""What every operation works with: the records, the files, the image formats, and the names of this installation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection

from goldherd.catalog import changes
from goldherd.catalog.store import Catalog
from goldherd.model.images import Formats
from goldherd.volumes.store import Volumes


class Services:
    """One data folder and what may be done with it; app.py makes it. Safe to use from several threads.

    Args:
        data: the data folder.
        formats: finds the image formats; called once, by the first operation that needs one.
        prefix: what stands before ":NODE" in a target's name.
    """

    def __init__(self, data: Path, formats: Callable[[], Formats], prefix: str) -> None:
        self.catalog = Catalog(data)
        self.volumes = Volumes(data, self._is_decided)
        self.prefix = prefix
        self._find_formats = formats

    @cached_property
    def formats(self) -> Formats:
        """The image formats."""
        return self._find_formats()

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.catalog.data

    def target_name(self, node: str) -> str:
        """The iSCSI name of a node's target."""
        return f"{self.prefix}:{node}"

    def initiator_name(self, node: str) -> str:
        """The iSCSI name that a node's own initiator has unless another was chosen."""
        return f"{self.prefix}.node:{node}"

    @contextmanager
    def deciding(self, change: str) -> Iterator[Connection]:
        """A writing transaction that decides a change of files: both happen, or neither."""
        with self.catalog.write() as connection:
            yield connection
            changes.decide(connection, change, self.volumes.journal.live())

    def close(self) -> None:
        """Lets go of the database."""
        self.catalog.close()

    def __enter__(self) -> "Services":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_decided(self, change: str) -> bool:
        with self.catalog.read() as connection:
            return changes.is_decided(connection, change)
