"""Finds the parent of a differencing VHD: who it is (unique id), and where it may lie (locators, names).

Search order: the parent that the administrator named, and no other; the relative locators, from the child's real
folder; the absolute locators when they are paths of this machine; the bare file names in the child's folder and then in
the search folders; the sealed file that the catalog knows by the unique id. Where there is no file of a name, those of
the same folder are tried whose names differ from it in case or in Unicode normalisation only: other systems take them
for the same.

A candidate must be a VHD with the right unique id. Only footers and headers are read here, from files opened read-only;
the image itself is opened by goldherd, once for all its children.
"""

import os
import stat
import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from goldherd import Opener
from goldherd.errors import ImageError, raise_for_shortage
from goldherd.limits import CHAIN_DEPTH_MAX

from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.survey import Survey, parent_names, survey

log = structlog.get_logger("goldherd.vhd")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be the parent; `found` is None when it is no VHD, and `problem` says why."""

    path: Path
    identity: tuple[int, int] | None
    """Device and inode."""
    found: Survey | None
    modified: float
    problem: str


def find_parent_file(child: Path, found: Survey, opener: Opener, *, longer_child: bool = False) -> Path:
    """The file of a differencing disk's parent; the whole chain below has been walked and ends.

    A child may be longer than its parent only if `longer_child` says so.

    Raises:
        ImageError: not found, not the right size, a loop, or too many levels.
    """
    status = child.stat()
    files = {(status.st_dev, status.st_ino)}
    ids = {found.footer.unique_id}
    first: Path | None = None
    lower, below = child, found
    for _ in range(CHAIN_DEPTH_MAX):
        named = opener.parent if first is None else None
        candidate, above = _find(lower, below, named, opener)
        if candidate.identity in files or above.footer.unique_id in ids:
            raise ImageError(
                f"The chain of {child} is a loop: {candidate.path} is its own ancestor. Restore one of the "
                "files from a backup.",
                path=str(child),
            )
        _check_size(below, above, longer_child)
        first = first or candidate.path
        if above.footer.disk_type != layout.DIFFERENCING:
            return first
        if candidate.identity is not None:
            files.add(candidate.identity)
        ids.add(above.footer.unique_id)
        lower, below = candidate.path, above
    raise ImageError(
        f"{child} has more than {CHAIN_DEPTH_MAX} parents below each other. Merge some of them.",
        path=str(child),
    )


def _find(child: Path, found: Survey, named: Path | None, opener: Opener) -> tuple[Candidate, Survey]:
    """The first candidate with the right unique id."""
    assert found.header is not None
    wanted = found.header.parent_id
    tried: list[str] = []
    for path in [named] if named is not None else _everywhere(child, found, opener):
        candidate = look_at(path)
        if candidate.found is not None and candidate.found.footer.unique_id == wanted:
            _compare_times(child, found.header.parent_time_stamp, candidate)
            return candidate, candidate.found
        tried.append(f"{path} ({candidate.problem or 'another disk'})")
    names = parent_names(found)
    if not tried:
        raise ImageError(
            f"{child} is a differencing disk without a usable parent locator. Name its parent, the VHD "
            f"with the unique id {uuid.UUID(bytes=wanted)}.",
            path=str(child),
        )
    raise ImageError(
        f"The parent of {child} was not found: it needs {names[0] if names else 'the VHD'} with the unique "
        f"id {uuid.UUID(bytes=wanted)}, and tried {', '.join(tried)}. Put the parent beside the child or "
        "name it.",
        path=str(child),
    )


def _everywhere(child: Path, found: Survey, opener: Opener) -> Iterator[Path]:
    """Every file that may be the parent; the one that the catalog knows by its unique id comes last.

    A file that lies where the child says is never passed over for it: should the file have been changed since it was
    sealed, the child may depend on the change, and the administrator must decide.
    """
    assert found.header is not None
    for path in candidates(child, found, opener):
        if os.path.lexists(path):
            yield path
            continue
        others = list(_spelled_otherwise(path))
        yield from others or [path]
    known = opener.known(found.header.parent_id.hex())
    if known is not None:
        yield known


def _spelled_otherwise(path: Path) -> Iterator[Path]:
    """The files whose paths differ from this one in case or in Unicode normalisation only."""
    if path == path.parent:
        yield path
        return
    folders = [path.parent] if path.parent.is_dir() else _spelled_otherwise(path.parent)
    wanted = _folded(path.name)
    for folder in folders:
        try:
            files = sorted(folder.iterdir())
        except OSError:
            continue  # no parent can be read in a folder that can't
        yield from (file for file in files if _folded(file.name) == wanted)


def _folded(name: str) -> str:
    """A file name as systems see it that ignore case and normalisation (Windows, macOS)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def candidates(child: Path, found: Survey, opener: Opener) -> Iterator[Path]:
    """Where the parent may lie, the surest place first, none twice."""
    folder = child.resolve().parent
    seen: set[Path] = set()
    for path in _places(folder, found, opener):
        normal = Path(os.path.normpath(path))
        if normal not in seen:
            seen.add(normal)
            yield normal


def _places(folder: Path, found: Survey, opener: Opener) -> Iterator[Path]:
    for text in found.relative_names:
        if not _is_foreign(text) and not _is_absolute(text):
            yield folder / _to_posix(text)
    for text in found.absolute_names:
        if not _is_foreign(text) and _is_absolute(text):
            yield Path(_to_posix(text))
    for place in (folder, *opener.search):
        for text in parent_names(found):
            name = _to_posix(text).rpartition("/")[2]
            if name not in ("", ".", "..") and not text.lower().startswith("file:"):
                yield place / name


def _to_posix(text: str) -> str:
    return text.replace("\\", "/")


def _is_absolute(text: str) -> bool:
    return text[:1] in ("\\", "/")


def _is_foreign(text: str) -> bool:
    """Whether a path is of another machine: a drive, a UNC name, a device, a URL. None is ever followed."""
    posix = _to_posix(text)
    return posix.startswith("//") or posix[1:2] == ":" or posix.lower().startswith("file:")


def look_at(path: Path) -> Candidate:
    """What a candidate is; what is wrong with it raises nothing, but a lack of descriptors or memory does."""
    try:
        real = path.resolve()
        fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, RuntimeError, ValueError) as error:
        raise_for_shortage(error, path, "open")
        reason = "missing" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or "unusable"
        return Candidate(path, None, None, 0, reason)
    try:
        status = os.fstat(fd)
        identity = (status.st_dev, status.st_ino)
        if not stat.S_ISREG(status.st_mode):
            return Candidate(real, identity, None, 0, "not a file")
        try:
            return Candidate(real, identity, survey(fd, str(real)), status.st_mtime, "")
        except ImageError:
            return Candidate(real, identity, None, status.st_mtime, "not a sound VHD")
        except OSError as error:
            raise_for_shortage(error, real, "read")
            return Candidate(real, identity, None, status.st_mtime, error.strerror or "unreadable")
    finally:
        os.close(fd)


def _check_size(child: Survey, parent: Survey, longer_child: bool) -> None:
    """A child covers its parent, and covers more only when the administrator asked for that."""
    have, need = parent.footer.current_size, child.footer.current_size
    if need < have:
        raise ImageError(
            f"{child.path} has {need} bytes and its parent {parent.path} has {have}: a child can't be "
            "smaller. Restore one of them from a backup.",
            path=child.path,
        )
    if need > have and not longer_child:
        raise ImageError(
            f"{child.path} has {need} bytes and its parent {parent.path} only {have}, so one of them was "
            "resized. Make a new child of this parent.",
            path=child.path,
        )


def _compare_times(child: Path, time_stamp: int, candidate: Candidate) -> None:
    """The parent's time of change is a hint only: copying a file changes it, and Windows often stores 0."""
    if time_stamp and time_stamp != layout.vhd_time(candidate.modified):
        log.info(
            "a parent's time differs from what its child remembers",
            child=str(child),
            parent=str(candidate.path),
        )
