"""The context of every operation: records, files, image formats, what is live, and the names of this installation.

Nothing is opened, made or imported before an operation needs it: a command that only asks who is logged in loads
neither a database nor a plugin.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from goldherd.errors import About, ErrorKind, SettingsError
from goldherd.model.images import Formats
from goldherd.model.installation import Installation
from goldherd.model.live import Live, NothingLive

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from goldherd.catalog.store import Catalog
    from goldherd.volumes.store import Change, Volumes

Audit = Callable[[str, Any], None]


def unheard(operation: str, request: Any) -> None:
    """The audit of an installation that keeps none."""


class Services:
    """One data folder and what may be done with it; app.py and client.py make it. Safe to use from several threads.

    Args:
        data: the data folder.
        formats: finds the image formats; called once, by the first operation that needs one.
        prefix: what stands before ":NODE" in a target's name.
        audit: told of every operation that was done: its name and its request.
        live: what serves the folder at this moment.

    Raises SettingsError for a data folder whose path can't be used, before anything is made.
    """

    def __init__(
        self,
        data: Path,
        formats: Callable[[], Formats],
        prefix: str,
        audit: Audit = unheard,
        live: Live | None = None,
    ) -> None:
        _check_folder(data)
        self.data = data.absolute()
        self.prefix = prefix
        self.audit = audit
        self.live: Live = live or NothingLive()
        self._find_formats = formats

    @cached_property
    def catalog(self) -> "Catalog":
        """The records; opened by the first operation that needs them."""
        from goldherd.catalog.store import Catalog

        return Catalog(self.data)

    @cached_property
    def volumes(self) -> "Volumes":
        """The files; their folders are made by the first operation that needs them."""
        from goldherd.volumes.store import Volumes

        return Volumes(self.data, self._is_decided)

    @cached_property
    def formats(self) -> Formats:
        """The image formats."""
        return self._find_formats()

    @cached_property
    def installation(self) -> Installation:
        """Which installation this is."""
        from goldherd.catalog import installation

        with self.catalog.read() as connection:
            return installation.find(connection)

    def check_volumes(self) -> None:
        """Raises CatalogError (kind absent) when a folder is not the one in which the disks of this catalog lie."""
        from goldherd.volumes import marks

        if self._is_marked():
            for folder in self.volumes.marked:
                marks.check(folder, self.installation)

    def claim_volumes(self) -> None:
        """Like check_volumes; folders that were never marked, as by an older goldherd, are marked."""
        from goldherd.volumes import marks

        self.check_volumes()
        if self._is_marked():
            return
        for folder in self.volumes.marked:
            if marks.installation_of(folder) is not None and not marks.is_bare(folder):
                marks.check(folder, self.installation)
        self.mark_volumes()

    def _is_marked(self) -> bool:
        from goldherd.catalog import installation

        with self.catalog.read() as connection:
            return installation.is_marked(connection)

    def mark_volumes(self) -> None:
        """Makes the folders, as they are now, those in which the disks of this catalog lie."""
        from goldherd.catalog import installation
        from goldherd.volumes import marks
        from goldherd.volumes.store import explained

        for folder in self.volumes.marked:
            with explained(folder, "mark the folder"):
                marks.mark(folder, self.installation)
        with self.catalog.write() as connection:
            installation.set_marked(connection)

    @contextmanager
    def changing(self) -> "Iterator[Change]":
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
    def deciding(self, change: str) -> "Iterator[Connection]":
        """A writing transaction that decides a change of files: both happen, or neither."""
        from goldherd.catalog import changes

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
        from goldherd.catalog import changes

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
