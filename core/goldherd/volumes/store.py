"""The folders of one data folder in which disks and secrets lie, and the name of every file in them.

DATA/images/            sealed golden files, NAME@NUMBER.FORMAT, mode 0444
DATA/overlays/          differencing children, NODE.IMAGE@NUMBER.FORMAT
DATA/secrets/           CHAP secrets, one file per node, mode 0600
DATA/changes/           intents of running changes (goldherd/files/journal.py) and lock files
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from goldherd.errors import About, CatalogError, ErrorKind, PluginError, raise_for_errno
from goldherd.files.journal import Change as Change
from goldherd.files.journal import Journal, flocked


class Volumes:
    """The files of one data folder; the folders are made when they are missing. CatalogError when they can't be.

    Args:
        data: the data folder.
        decided: whether the records know that a change of files was decided.
    """

    def __init__(self, data: Path, decided: Callable[[str], bool]) -> None:
        self.data = data.absolute()
        self.images = self.data / "images"
        self.overlays = self.data / "overlays"
        self.secrets = self.data / "secrets"
        self.marked = (self.images, self.overlays)
        """The folders that may be file systems of their own, each with a mark (marks.py)."""
        self.changes = self.data / "changes"
        try:
            for folder in (self.data, self.images, self.overlays, self.changes):
                folder.mkdir(parents=True, exist_ok=True)
            self.secrets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise CatalogError(
                f"The data folder {self.data} can't be used ({error.strerror}): name another, or run this as the user "
                "who owns it.",
                kind=ErrorKind.NOT_PERMITTED,
                about=(About("folder", str(self.data)),),
            ) from error
        self.journal = Journal(self.changes, decided)

    def golden(self, image: str, number: int, format_name: str) -> Path:
        """The file of a version that was copied into the data folder."""
        return self.images / f"{image}@{number}.{format_name}"

    def overlay(self, node: str, image: str, number: int, format_name: str) -> Path:
        """The file of a node's differencing child; a node's name has no dot, so the name reads back."""
        return self.overlays / f"{node}.{image}@{number}.{format_name}"

    def secret(self, node: str) -> Path:
        """The file of a node's secret."""
        return self.secrets / node

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Keeps other processes (and threads) out of everything else done under the same lock."""
        return flocked(self.changes / f"{name}.lock")


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turns what the system refused, to us or to a plugin, into a sentence: "Could not {doing} of {path}"."""
    try:
        yield
    except (OSError, PluginError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError):
            raise_for_errno(-(cause.errno or errno.EIO), str(cause.filename or path), doing)
        raise
