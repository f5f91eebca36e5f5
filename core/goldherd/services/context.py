"""The context of every operation: the records, the files, the image formats, and the names of this installation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection

from goldherd.catalog import changes
from goldherd.catalog import installation as installations
from goldherd.catalog.store import Catalog
from goldherd.errors import About, ErrorKind, SettingsError
from goldherd.model.images import Formats
from goldherd.model.installation import Installation
from goldherd.volumes import marks
from goldherd.volumes.store import Change, Volumes, explained

Audit = Callable[[str, Any], None]


def unheard(operation: str, request: Any) -> None:
    """The audit of an installation that keeps none."""


class Services:
    """One data folder and what may be done with it; app.py makes it. Safe to use from several threads.

    Args:
        data: the data folder.
        formats: finds the image formats; called once, by the first operation that needs one.
        prefix: what stands before ":NODE" in a target's name.
        audit: told of every operation that was done: its name and its request.

    Raises SettingsError for a data folder whose path can't be used, before anything is made.
    """

    def __init__(self, data: Path, formats: Callable[[], Formats], prefix: str, audit: Audit = unheard) -> None:
        _check_folder(data)
        self.data = data.absolute()
        self.prefix = prefix
        self.audit = audit
        self.volumes = Volumes(data, self._is_decided)
        self._find_formats = formats

    @cached_property
    def catalog(self) -> Catalog:
        """The records; opened by the first operation that needs them."""
        return Catalog(self.data)

    @cached_property
    def formats(self) -> Formats:
        """The image formats."""
        return self._find_formats()

    @cached_property
    def installation(self) -> Installation:
        """Which installation this is."""
        with self.catalog.read() as connection:
            return installations.find(connection)

    def check_volumes(self) -> None:
        """Raises CatalogError (kind absent) when a folder is not the one in which the disks of this catalog lie."""
        if self._is_marked():
            for folder in self.volumes.marked:
                marks.check(folder, self.installation)

    def claim_volumes(self) -> None:
        """Like check_volumes; folders that were never marked, as by an older goldherd, are marked."""
        self.check_volumes()
        if self._is_marked():
            return
        for folder in self.volumes.marked:
            if marks.installation_of(folder) is not None and not marks.is_bare(folder):
                marks.check(folder, self.installation)
        self.mark_volumes()

    def _is_marked(self) -> bool:
        with self.catalog.read() as connection:
            return installations.is_marked(connection)

    def mark_volumes(self) -> None:
        """Makes the folders, as they are now, those in which the disks of this catalog lie."""
        for folder in self.volumes.marked:
            with explained(folder, "mark the folder"):
                marks.mark(folder, self.installation)
        with self.catalog.write() as connection:
            installations.set_marked(connection)

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """A change of files, in folders that were found to be the right ones; decide it by `deciding`."""
        self.claim_volumes()
        with self.volumes.journal.change() as change:
            yield change

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
        if "catalog" in self.__dict__:
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


def _check_folder(data: Path) -> None:
    """Children name their parent's file in UTF-16 (VHD 2.3), so a path that is no text can't be one."""
    try:
        str(data.absolute()).encode()
    except UnicodeEncodeError:
        raise SettingsError(
            f"The data folder {str(data)!a} can't be used: its path is not UTF-8 text, and disks must name files in "
            "it. Name another.",
            about=(About("folder", ascii(str(data))),),
            kind=ErrorKind.INVALID,
        ) from None
