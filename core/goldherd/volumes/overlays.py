"""The differencing children: where a node's writes live, one file per node and version it has run.

A child belongs to the version it was made on, for ever. A node that gets another version gets another child;
the old one stays until the node is reset or removed, so that going back to a version brings its disk back.
"""

import secrets as randomness
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from goldherd.errors import About, CatalogError, ErrorKind, ImageError
from goldherd.files.locks import held
from goldherd.files.newfile import Together, sync_folder
from goldherd.limits import LINGER_SECONDS, OVERLAY_THREADS, OVERLAYS_TOGETHER_MAX
from goldherd.model.images import Formats, VersionRecord
from goldherd.volumes.store import Volumes, explained


class Listing:
    """All children that lie in a data folder, read once: by node and by version."""

    def __init__(self, volumes: Volumes) -> None:
        self.by_node: dict[str, list[Path]] = {}
        self.by_version: dict[str, list[Path]] = {}
        for path in sorted(volumes.overlays.iterdir()):
            # The name of a node has no dot, and that of a format has none.
            node, _, version = path.stem.partition(".")
            if node and "@" in version and path.suffix:
                self.by_node.setdefault(node, []).append(path)
                self.by_version.setdefault(version, []).append(path)

    def of(self, node: str) -> list[Path]:
        """The children of a node, whatever their version."""
        return self.by_node.get(node, [])

    def on(self, version: str) -> list[Path]:
        """The children made on a version, given as `name@number`."""
        return self.by_version.get(version, [])


def node_of(overlay: Path) -> str:
    """The node whose child a file is."""
    return overlay.name.partition(".")[0]


@contextmanager
def holding(paths: Sequence[Path], doing: str) -> Iterator[None]:
    """The one check before disks are removed, replaced or left: no machine has them open, nor can during this block.

    Writers of a disk hold an exclusive lock on its file (an open file description lock), so this is true for a
    daemon, an `export` and any other process alike. Raises CatalogError (kind in-use), naming the node.
    """
    try:
        with held(paths):
            yield
    except ImageError as error:
        if error.kind is not ErrorKind.IN_USE or error.path is None or Path(error.path) not in set(paths):
            raise
        node = node_of(Path(error.path))
        raise CatalogError(
            f"{doing}: the disk of {node} is in use; shut the machine down first, and wait {LINGER_SECONDS:g} seconds.",
            kind=ErrorKind.IN_USE,
            about=(About("node", node), About("file", error.path)),
        ) from None


def make_overlays(formats: Formats, paths: Sequence[Path], version: VersionRecord) -> None:
    """Makes empty children; the first failure is raised once the others have ended.

    The names must stand in an intent journal: many children become durable together, so one may have its name before it
    is whole (files/newfile.py). Several are made at the same time, because a format may wait for the disk.
    """
    from goldherd.formats import Place  # loads the compiled modules, which most operations do without

    parent = Place(version.format, str(version.path))

    def make(mine: Sequence[Path], together: Together) -> None:
        with together.member():
            for path in mine:
                with explained(path, "make the disk"):
                    formats.create(f"{version.format}:{path}", version.size_bytes, parent)

    with ThreadPoolExecutor(OVERLAY_THREADS, thread_name_prefix="overlay") as pool:
        for first in range(0, len(paths), OVERLAYS_TOGETHER_MAX):
            with Together(pool) as together:
                batch = paths[first : first + OVERLAYS_TOGETHER_MAX]
                waiting = [pool.submit(make, batch[at::OVERLAY_THREADS], together) for at in range(OVERLAY_THREADS)]
                try:
                    for future in waiting:
                        future.result()
                finally:
                    for future in waiting:
                        future.cancel()
                    wait(waiting)


def fresh_name(overlay: Path) -> Path:
    """The path of a child that is to replace another."""
    return overlay.with_name(f".{overlay.name}.{randomness.token_hex(4)}.fresh")


def remove_overlays(paths: Sequence[Path]) -> None:
    """Throws children away, durably; CatalogError (kind in-use), before anything is touched, when one is open."""
    with holding(paths, "No disk is removed"):
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
