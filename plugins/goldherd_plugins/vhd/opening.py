"""Opens a VHD: lock, survey, parents, repair, image. Whatever refuses does so before anything is written."""

import os
from pathlib import Path

import structlog
from goldherd import Image, Opener
from goldherd.block.image import pending_failure
from goldherd.errors import ImageError
from goldherd.files.locks import open_locked

from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.fixed import FixedVhd
from goldherd_plugins.vhd.image import VhdImage
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
    try:
        found = survey(fd, path, chs_size=chs_size)
        _check_features(found, writable)
        parent = None
        if found.footer.disk_type == layout.DIFFERENCING:
            parent = opener.open_parent(find_parent_file(Path(path), found, opener, longer_child=longer_child), "vhd")
        failure = pending_failure(fd, path) if writable else None
        if writable and failure is None and repair(fd, found):
            found = survey(fd, path, chs_size=chs_size)
        if found.footer.disk_type == layout.FIXED:
            return FixedVhd(fd, found, read_only=not writable, failure=failure)
        return VhdImage(fd, found, parent=parent, read_only=not writable, failure=failure)
    except OSError as error:
        os.close(fd)
        raise ImageError(f"Could not read {path}: {error.strerror or error}.", path=path) from error
    except BaseException:
        os.close(fd)
        raise


def _check_features(found: Survey, writable: bool) -> None:
    if found.footer.saved_state and writable:
        raise ImageError(
            f"{found.path} belongs to a virtual machine in saved state, and writing would break that "
            "machine when it resumes. Shut it down first, or open the disk read-only.",
            path=found.path,
        )
    if found.footer.features & ~3 or not found.footer.features & 2:
        log.warning("a VHD with unknown feature bits", path=found.path, features=found.footer.features)
