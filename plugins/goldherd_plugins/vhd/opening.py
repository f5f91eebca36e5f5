"""Opens a VHD: lock, survey, parents, repair, image. Whatever refuses does so before anything is written."""

import os
from pathlib import Path

import structlog
from goldherd import Image, Opener
from goldherd.block.image import pending_failure
from goldherd.errors import ImageError
from goldherd.files.failed import Failure, find_mark
from goldherd.files.locks import open_locked

from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.fixed import FixedVhd
from goldherd_plugins.vhd.image import VhdImage
from goldherd_plugins.vhd.left import LeftTables, find_left
from goldherd_plugins.vhd.parents import find_parent_file
from goldherd_plugins.vhd.repair import repair
from goldherd_plugins.vhd.survey import Survey, survey

log = structlog.get_logger("goldherd.vhd")


def open_vhd(path: str, mode: str, opener: Opener, *, chs_size: bool = False, longer_child: bool = False) -> Image:
    """The disk in a VHD file.

    Args:
        path: the file.
        mode: "r": the file is opened O_RDONLY and never changed, not even repaired; or "rw".
        opener: where parents are looked for and through whom they are opened.
        chs_size: the size is that of the geometry.
        longer_child: a child may be longer than its parent.

    Raises:
        ImageError: with one sentence that says what is wrong and what to do.
    """
    writable = mode == "rw"
    fd = open_locked(path, mode)
    left: LeftTables | None = None
    try:
        left, failure = _find_left(fd, path, writable)
        found = _survey(fd, path, chs_size, left)
        if left is not None and found.taken_over is None:
            _drop(left, writable)
            left = None
        _check_features(found, writable)
        parent = None
        if found.footer.disk_type == layout.DIFFERENCING:
            parent = opener.open_parent(find_parent_file(Path(path), found, opener, longer_child=longer_child), "vhd")
        if writable and failure is None:
            failure = pending_failure(fd, path)
        if writable and failure is None:
            if left is not None:
                left.memory.touch()
            if repair(fd, found):
                found = survey(fd, path, chs_size=chs_size, left=left)
        if found.footer.disk_type == layout.FIXED:
            return FixedVhd(fd, found, read_only=not writable, failure=failure)
        image = VhdImage(fd, found, parent=parent, read_only=not writable, failure=failure, left=left)
    except OSError as error:
        _close(fd, left)
        raise ImageError(f"Could not read {path}: {error.strerror or error}.", path=path) from error
    except BaseException:
        _close(fd, left)
        raise
    if left is not None:
        settled = writable and _settle(image, path)
        _drop(left, settled)
    return image


def _close(fd: int, left: LeftTables | None) -> None:
    os.close(fd)
    if left is not None:
        left.memory.close()


def _find_left(fd: int, path: str, writable: bool) -> tuple[LeftTables | None, Failure | None]:
    """What a killed process left, and why the disk has failed. For a failed disk the tables of the last flush count:
    the data that later ones speak of may be lost."""
    left = find_left(fd, path, writable=writable)
    if left is None:
        return None, None
    failure = pending_failure(fd, path) if writable else find_mark(fd)
    if failure is None:
        return left, None
    _drop(left, writable)
    return None, failure if writable else None


def _survey(fd: int, path: str, chs_size: bool, left: LeftTables | None) -> Survey:
    """The file with what was left; where the two contradict each other, the file alone."""
    if left is not None:
        try:
            return survey(fd, path, chs_size=chs_size, left=left)
        except ImageError as error:
            log.error("the memory of a killed process does not fit its disk and is not used", path=path, why=str(error))
    return survey(fd, path, chs_size=chs_size)


def _drop(left: LeftTables, forever: bool) -> None:
    if forever:
        left.memory.discard()
    else:
        left.memory.close()


def _settle(image: VhdImage, path: str) -> bool:
    """Brings what was taken over to the file; whether it is there. Where that fails the disk is open all the same: it
    is a failed one then, or the next flush tries again."""
    try:
        image.synchronize()
    except ImageError as error:
        log.error("what a killed process had left is not on the disk yet", path=path, reason=str(error))
        return False
    log.info("writes that a killed process had answered were taken over", path=path)
    return True


def _check_features(found: Survey, writable: bool) -> None:
    if found.footer.saved_state and writable:
        raise ImageError(
            f"{found.path} belongs to a virtual machine in saved state, and writing would break that "
            "machine when it resumes. Shut it down first, or open the disk read-only.",
            path=found.path,
        )
    if found.footer.features & ~3 or not found.footer.features & 2:
        log.warning("a VHD with unknown feature bits", path=found.path, features=found.footer.features)
