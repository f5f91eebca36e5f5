"""The differencing children: where a node's writes live, one file per node and version it has run.

A child belongs to the version it was made on, for ever. A node that gets another version gets another child;
the old one stays until the node is reset or removed, so that going back to a version brings its disk back.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from goldherd.errors import CatalogError
from goldherd.files.newfile import sync_folder
from goldherd.limits import OVERLAY_THREADS
from goldherd.model.images import Formats, VersionRecord
from goldherd.volumes.store import GOLDEN_FORMAT, Volumes, explained


def overlays_of(volumes: Volumes, node: str) -> list[Path]:
    """All children of a node, whatever their version."""
    return sorted(volumes.overlays.glob(f"{node}.*.{GOLDEN_FORMAT}"))


def overlays_on(volumes: Volumes, version: str) -> list[Path]:
    """All children made on a version, given as `name@number`."""
    return sorted(volumes.overlays.glob(f"*.{version}.{GOLDEN_FORMAT}"))


def make_overlays(formats: Formats, paths: Sequence[Path], version: VersionRecord) -> None:
    """Makes empty children; the first failure is raised once the others have ended.

    Creating one means waiting for the disk twice, so several wait at the same time.
    """

    from goldherd.formats import Place  # loads the compiled modules, which most operations do without

    def make(path: Path) -> None:
        with explained(path, "make the disk"):
            parent = Place(version.format, str(version.path))
            formats.create(f"{GOLDEN_FORMAT}:{path}", version.size_bytes, parent)

    with ThreadPoolExecutor(OVERLAY_THREADS, thread_name_prefix="overlay") as pool:
        waiting = [pool.submit(make, path) for path in paths]
        try:
            for future in waiting:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def remove_overlays(paths: Iterable[Path]) -> None:
    """Throws children away, durably."""
    folders = set()
    for path in paths:
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        sync_folder(folder)


def refuse_if_in_use(node: str, paths: Iterable[Path], doing: str) -> None:
    """Raises CatalogError while somebody has one of the children open for writing.

    Whoever writes a disk holds an exclusive lock on its file (an open file description lock), so this is true
    for a daemon, an `export` and any other process alike.
    """
    # struct flock: l_type, l_whence, l_start, l_len (0: to the end), l_pid (0 for this kind of lock)
    whole_file = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole_file)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise CatalogError(f"{node} is not {doing}: its disk is in use; shut the machine down first.") from None
        finally:
            os.close(descriptor)
