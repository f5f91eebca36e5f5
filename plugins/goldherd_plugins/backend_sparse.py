"""Sparse disks: raw files that take only the space that was written; UNMAP gives it back."""

import os
from pathlib import Path

from goldherd import hookimpl
from goldherd.block.image import Image
from goldherd.files.newfile import new_file

from goldherd_plugins.backend_raw import check_size, open_raw

SCHEME = "sparse:"


@hookimpl
def open_image(url: str, mode: str) -> Image | None:
    """Opens "sparse:PATH"."""
    return open_raw(url.removeprefix(SCHEME), mode) if url.startswith(SCHEME) else None


@hookimpl
def create_image(url: str, size_bytes: int, parent: Path | None) -> bool | None:
    """Makes the file as one hole."""
    if parent is not None or not url.startswith(SCHEME):
        return None
    check_size(size_bytes, url.removeprefix(SCHEME))
    with new_file(Path(url.removeprefix(SCHEME))) as fd:
        os.ftruncate(fd, size_bytes)
    return True
