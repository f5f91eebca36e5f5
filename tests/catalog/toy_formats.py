"""Image formats for the catalog's tests: small, honest and on disk.

The catalog must not know any format, so its tests bring one of their own through the same hooks. A toy VHD ends
like a real one in 512 bytes that begin with "conectix"; a differencing one names its parent by file and identity.
Run as a program, this file is the command line with these formats in place of the installed plugins.
"""

import fcntl
import json
import os
import struct
import sys
import uuid
from pathlib import Path
from typing import Any

import pluggy

from goldherd import hookspecs
from goldherd.errors import ImageError
from goldherd.hookspecs import hookimpl

FOOTER_BYTES = 512
COOKIE = b"conectix"


class ToyImage:
    """An opened file, locked as the real backends lock theirs."""

    def __init__(self, path: Path, mode: str, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._descriptor = os.open(path, os.O_RDWR if mode == "rw" else os.O_RDONLY)
        kind = fcntl.F_WRLCK if mode == "rw" else fcntl.F_RDLCK
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))

    def close(self) -> None:
        os.close(self._descriptor)


def read_footer(path: Path) -> dict[str, Any] | None:
    """What the last 512 bytes say; None when they are no footer."""
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - FOOTER_BYTES, 0))
        footer = file.read()
    if not footer.startswith(COOKIE):
        return None
    try:
        return dict(json.loads(footer[len(COOKIE) :].rstrip(b"\0")))
    except ValueError:
        raise ImageError(f"{path} has a damaged footer: take another copy.", path=str(path)) from None


class ToyVhd:
    """Fixed and differencing toy VHDs."""

    @hookimpl
    def probe_image(self, tail: bytes) -> str | None:
        return "vhd" if tail[-FOOTER_BYTES:].startswith(COOKIE) else None

    @hookimpl
    def open_image(self, url: str, mode: str, opener: Any) -> ToyImage | None:
        name, _, rest = url.partition(":")
        if name != "vhd":
            return None
        path = Path(rest)
        footer = read_footer(path)
        if footer is None:
            raise ImageError(f"{path} is not a VHD: it has no footer.", path=rest)
        if footer["parent"]:
            parent = Path(opener.parent or footer["parent"])
            if not parent.exists() or read_footer(parent)["id"] != footer["parent_id"]:  # type: ignore[index]
                raise ImageError(f"The parent of {path} is missing: put {parent} back.", path=rest)
            opener.open_parent(parent, "vhd")
        return ToyImage(path, mode, footer["size"])

    @hookimpl
    def create_image(self, url: str, size_bytes: int, parent: Path | None) -> bool | None:
        name, _, rest = url.partition(":")
        if name not in ("vhd", "vhd-fixed"):
            return None
        above = read_footer(parent) if parent else None
        footer = {
            "id": str(uuid.uuid4()),
            "size": size_bytes,
            "parent": str(parent) if parent else None,
            "parent_id": above and above["id"],
        }
        # Unlike a real backend this leaves half a file behind when it fails: the catalog must cope.
        descriptor = os.open(rest, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.ftruncate(descriptor, size_bytes if name == "vhd-fixed" else 0)
            os.lseek(descriptor, 0, os.SEEK_END)
            os.write(descriptor, (COOKIE + json.dumps(footer).encode()).ljust(FOOTER_BYTES, b"\0"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True


class ToyRaw:
    """Files that are the disk."""

    @hookimpl
    def open_image(self, url: str, mode: str) -> ToyImage | None:
        name, _, rest = url.partition(":")
        if name != "raw":
            return None
        path = Path(rest)
        size_bytes = path.stat().st_size
        if size_bytes == 0 or size_bytes % 512:
            raise ImageError(f"{path} has {size_bytes} bytes, not a multiple of 512: fill it up.", path=rest)
        return ToyImage(path, mode, size_bytes)


class ToyFormats:
    """Calls the toys through pluggy, as goldherd.hooks calls plugins."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(ToyRaw())
        self._manager.register(ToyVhd())

    def probe(self, path: Path) -> str:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path} can't be read ({error.strerror}).", path=str(path)) from error
        return self._manager.hook.probe_image(path=path, head=data[:4096], tail=data[-4096:]) or "raw"

    def open(self, url: str, mode: str, opener: object) -> ToyImage:
        image = self._manager.hook.open_image(url=url, mode=mode, opener=opener)
        if image is None:
            raise ImageError(f"No plugin opens {url}: install one.")
        return image  # type: ignore[no-any-return]

    def create(self, url: str, size_bytes: int, parent: Path | None) -> None:
        if not self._manager.hook.create_image(url=url, size_bytes=size_bytes, parent=parent):
            raise ImageError(f"No plugin makes {url}: install one.")


if __name__ == "__main__":
    from goldherd.cli import context, image, main, node

    context.load_formats = image.load_formats = node.load_formats = ToyFormats  # type: ignore[assignment]
    sys.exit(main.main())
