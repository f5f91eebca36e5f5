"""Opens the disks of targets: files by their plugins, sealed parents once for everybody through the golden cache.

All calls may sleep in a disk: make them on a thread that may. Knows no session.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from goldherd import limits
from goldherd.block.filter import BorrowedImage
from goldherd.block.format import Place
from goldherd.block.golden import GoldenCache, GoldenImage
from goldherd.block.image import Failure, Image
from goldherd.errors import ErrorKind, ImageError, raise_for_shortage
from goldherd.files.failed import mark
from goldherd.hooks import Hooks
from goldherd.model.handover import MovedFailure
from goldherd.model.targets import LunConfig

log = structlog.get_logger("goldherd.disks")

FileId = tuple[int, int]


class Seal(Protocol):
    """What is known of a sealed file."""

    @property
    def parent(self) -> Path | None:
        """The sealed file it is based on."""
        ...

    @property
    def times_changed(self) -> int:
        """How often it, or one that it is based on, was found changed."""
        ...


class Seals(Protocol):
    """Knows whether a golden file is unchanged since it was sealed."""

    def sealed(self, path: Path) -> Seal:
        """The record of a sealed file, found unchanged; ImageError when it was changed or isn't sealed."""
        ...


class Disks:
    """All open disks of a server.

    Args:
        hooks: the plugins.
        cache: where sealed parents live.
        seals: checks sealed parents; None on the command line, which has no catalog.
    """

    def __init__(self, hooks: Hooks, cache: GoldenCache, seals: Seals | None = None) -> None:
        self._formats = hooks.formats
        self._cache = cache
        self._seals = seals
        self._lock = threading.Lock()
        self._goldens: dict[FileId, tuple[int, GoldenImage]] = {}
        """With how often each had been found changed when it was opened."""
        self._discarding: WeakValueDictionary[int, Image] = WeakValueDictionary()
        """By id(), because a plugin's image need not have a hash."""
        self._failures: dict[str, tuple[FileId | None, Failure]] = {}
        """By location, of disks that have failed and whose files carry no mark of it."""
        self._trusts = False

    @contextmanager
    def trusting(self) -> Iterator[None]:
        """Golden images that are open are not looked at again: for disks that machines are reading at this moment.

        To find out anew for each disk whether its golden image is unchanged is most of the time that opening takes.
        """
        self._trusts = True
        try:
            yield
        finally:
            self._trusts = False

    def open(self, config: LunConfig) -> Image:
        """The disk of a LUN under its filters; ImageError with one sentence when it can't be had."""
        form, image = self._open(config)
        identity, failure = self._failures.get(config.location, (None, None))
        if failure is not None and identity == _file_id_if_any(config.path):
            image.fail(failure)
            if identity is not None and mark(config.path, failure).marked:  # the file system takes writes again
                self.forget_failure(config.location)
        if config.filters:
            try:
                # A filter owns what is below it, and a sealed image belongs to all its readers.
                below = BorrowedImage(image) if self.is_shared(image) else image
                image = self._formats.wrap(below, config.filters)
            except BaseException:
                if not self.is_shared(image):
                    image.close()
                raise
        if self._formats.capabilities(form).discard:
            self._discarding[id(image)] = image
        return image

    def discards(self, image: Image) -> bool:
        """Whether the format of an open disk gives discarded space back; only such a unit may promise to."""
        return self._discarding.get(id(image)) is image

    def _open(self, config: LunConfig) -> tuple[str, Image]:
        """The format of a disk, and the disk without its filters."""
        if config.parent is not None:
            return self._open_child(config, config.parent)
        form = config.format or self._formats.probe(config.path)
        if config.sealed:
            return form, self.golden(config.path, form)
        url = f"{form}:{config.location}"
        return form, self._formats.open(url, "r" if config.read_only else "rw", Opening(self), config.options)

    def _open_child(self, config: LunConfig, parent: Path) -> tuple[str, Image]:
        above = config.parent_format or self._formats.probe(parent)
        golden = self.golden(parent, above)
        form = config.format or self._child_format(parent, above)
        url = f"{form}:{config.location}"
        if not config.create and not config.path.exists():
            raise ImageError(
                f"The disk {config.location} is not there: it was there before, or its file system is not "
                "mounted. Mount it or restore the file; a reset gives the node a fresh disk.",
                path=config.location,
                kind=ErrorKind.ABSENT,
            )
        if config.create and not config.path.exists():
            self._formats.create(url, golden.size_bytes, Place(above, str(parent)), config.options)
            log.info("a new disk was made", path=config.location, parent=str(parent))
        opening = Opening(self, parent, (file_id(config.path),))
        return form, self._formats.open(url, "r" if config.read_only else "rw", opening, config.options)

    def _child_format(self, parent: Path, above: str) -> str:
        """The format of children over a parent; ImageError when there is none."""
        form = self._formats.child_format(above)
        if form is None:
            raise ImageError(
                f"{parent} can't be a parent: it is of the format {above}, and no format makes differencing disks over "
                "that. Convert it to VHD first.",
                path=str(parent),
            )
        return form.name

    def golden(self, path: Path, form: str | None, below: Sequence[FileId] = ()) -> GoldenImage:
        """The sealed image in a file, opened once for everybody.

        Args:
            path: the file.
            form: its format; None to find out.
            below: the files that led here, to see a loop.
        """
        if self._trusts:
            with self._lock:
                _, open_already = self._goldens.get(file_id(path), (0, None))
            if open_already is not None:
                return open_already
        seal = self._seals.sealed(path) if self._seals is not None else None
        parent, changed = (None, 0) if seal is None else (seal.parent, seal.times_changed)
        identity = file_id(path)
        if identity in below:
            raise ImageError(
                f"{path} is its own ancestor: the chain of parents runs in a circle. Restore the right parent.",
                path=str(path),
            )
        if len(below) > limits.CHAIN_DEPTH_MAX:
            raise ImageError(
                f"{path} is the {len(below)}th parent in its chain; {limits.CHAIN_DEPTH_MAX} are the limit. Merge "
                "some of them.",
                path=str(path),
            )
        with self._lock:
            before, known = self._goldens.get(identity, (-1, None))
        if known is not None and before >= changed:
            return known
        url = f"{form or self._formats.probe(path)}:{path}"
        image = self._cache.adopt(self._formats.open(url, "r", Opening(self, parent, (*below, identity))))
        with self._lock:
            before, first = self._goldens.get(identity, (-1, image))
            if before < changed:
                # What is in memory of a file that was changed meanwhile may be wrong: it ends with its last reader.
                self._goldens[identity] = (changed, image)
                for other in [key for key, (_, each) in self._goldens.items() if each.path == image.path]:
                    if other != identity:  # another file lay at this place before
                        del self._goldens[other]
                return image
        image.close()  # another thread opened the image in the same moment
        return first

    def remember_failure(self, location: str, failure: Failure) -> None:
        """A disk has failed. If its file carries no mark, this process alone knows, for as long as it runs."""
        if not failure.marked:
            self._failures[location] = (_file_id_if_any(Path(location)), failure)

    def failure_records(self) -> tuple[MovedFailure, ...]:
        """The failures that this process alone knows, for the one that follows it."""
        return tuple(
            MovedFailure(location=location, file=identity, number=failure.number, at=failure.at)
            for location, (identity, failure) in self._failures.items()
        )

    def restore_failures(self, records: Sequence[MovedFailure]) -> None:
        """Goes on with the failures that the process before this one knew; call it before a disk is opened."""
        for each in records:
            self._failures[each.location] = (each.file, Failure(each.number, each.at))

    def forget_failure(self, location: str) -> None:
        """The disk there has been thrown away."""
        self._failures.pop(location, None)

    @staticmethod
    def is_shared(image: Image) -> bool:
        """Whether the image is a sealed one that others read too, so that no single user may close it."""
        return isinstance(image, GoldenImage)

    def close(self) -> None:
        """Closes all sealed parents, of which no child may be open."""
        for _, image in reversed(self._goldens.values()):  # children before their parents
            image.close()
        self._goldens.clear()


@dataclass
class Opening:
    """What a format may ask while it opens one image (block/format.py: Opener)."""

    disks: Disks
    parent: Path | None = None
    below: tuple[FileId, ...] = ()
    search: Sequence[Path] = field(default=())

    def known(self, identity: str) -> Path | None:  # noqa: ARG002
        """None: a server is always told which sealed file is a disk's parent."""
        return None

    def open_parent(self, path: Path, format_name: str) -> Image:
        """The sealed image at path, for reading only."""
        return self.disks.golden(path, format_name, self.below)


def file_id(path: Path) -> FileId:
    """Which file a path means: device and inode, so that two names of one file are one."""
    try:
        found = path.stat()
    except OSError as failure:
        raise_for_shortage(failure, path, "open")
        raise ImageError(
            f"Could not open {path}: {failure.strerror}. Check that the file is there and may be read.", path=str(path)
        ) from None
    return found.st_dev, found.st_ino


def _file_id_if_any(path: Path) -> FileId | None:
    """Which file a location means; None when it is none, or not there."""
    try:
        return file_id(path)
    except ImageError:
        return None
