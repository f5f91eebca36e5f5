"""Nothing half-made stays behind: the files of a change are written down before they are touched.

A command that makes or removes files keeps a list of them in DATA/changes, under a lock that dies with it.
When the change ends, well or badly, every listed file that the catalog does not know is removed; and when the
command was killed, the next one that changes something does the same in its stead. So a file exists if and
only if the catalog knows it, and which of the two came first never matters.

Only listed files are ever removed: a file that somebody put into the folders by hand is left alone.
"""

import fcntl
import os
import secrets as randomness
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import and_, select

from goldherd.catalog.store import Catalog, sync_folder
from goldherd.catalog.tables import images, nodes, versions
from goldherd.model.images import ImageRef


class Change:
    """The list of one running change."""

    def __init__(self, catalog: Catalog, descriptor: int) -> None:
        self._catalog = catalog
        self._descriptor = descriptor

    def add(self, paths: Iterable[Path]) -> None:
        """Writes files down, durably, before they are made or removed."""
        lines = "".join(f"{path}\n" for path in paths)
        os.write(self._descriptor, lines.encode())
        os.fsync(self._descriptor)


@contextmanager
def change(catalog: Catalog, paths: Iterable[Path] = ()) -> Iterator[Change]:
    """Runs a change; afterwards the listed files that the catalog does not know are gone."""
    with catalog.lock("changes"):
        _sweep(catalog)
        listing = catalog.changes / f"{randomness.token_hex(8)}.list"
        descriptor = os.open(listing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        running = Change(catalog, descriptor)
        sync_folder(catalog.changes)
        running.add(paths)
        yield running
    finally:
        _finish(catalog, listing)
        os.close(descriptor)


def sweep(catalog: Catalog) -> None:
    """Clears up after commands that were killed."""
    with catalog.lock("changes"):
        _sweep(catalog)


def _sweep(catalog: Catalog) -> None:
    for listing in catalog.changes.glob("*.list"):
        try:
            descriptor = os.open(listing, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its command ended just now
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                _finish(catalog, listing)
        except BlockingIOError:
            continue  # its command is alive
        finally:
            os.close(descriptor)


def _finish(catalog: Catalog, listing: Path) -> None:
    # A last line without its newline was cut off by a crash: its file was not touched yet.
    lines = listing.read_text().split("\n")[:-1]
    unknown = set(_unknown(catalog, [Path(line) for line in lines]))
    for folder in {path.parent for path in unknown}:
        for path in folder.iterdir():
            if path in unknown or _becomes(path) in unknown:
                path.unlink(missing_ok=True)
        sync_folder(folder)
    listing.unlink()


def _becomes(path: Path) -> Path | None:
    """The file that a half-written ".NAME.RANDOM.new" was to become: whoever makes a file whole starts so."""
    if path.suffix != ".new" or not path.name.startswith("."):
        return None
    return path.with_name(path.name[1:].removesuffix(".new").rpartition(".")[0] or path.name)


def _unknown(catalog: Catalog, paths: list[Path]) -> list[Path]:
    if not paths:
        return []
    with catalog.read() as connection:
        golden = {catalog.data / path for path in connection.execute(select(versions.c.path)).scalars()}
        node_names = set(connection.execute(select(nodes.c.name)).scalars())
        secret_names = set(connection.execute(select(nodes.c.name).where(nodes.c.chap_user.is_not(None))).scalars())
        rows = connection.execute(
            select(images.c.name, versions.c.number).join(images, and_(images.c.id == versions.c.image_id))
        )
        numbered = {str(ImageRef(name, number)) for name, number in rows}

    def known(path: Path) -> bool:
        if path.parent == catalog.overlays:
            node, _, version = path.name.removesuffix(".vhd").partition(".")
            return node in node_names and version in numbered
        if path.parent == catalog.secrets:
            return path.name in secret_names
        return path in golden

    return [path for path in paths if not known(path)]
