"""Sparse disks: raw files that take only the space that was written; UNMAP gives it back."""

import os

from goldherd import Capabilities, Format, hookimpl

from goldherd_plugins.backend_raw import RawFormat


class SparseFormat(RawFormat):
    """ "sparse:PATH": new files are one hole."""

    name = "sparse"
    title = "the disk itself, holes where nothing was written"
    capabilities = Capabilities(write=True, create=True, plain=True, sparse=True, discard=True, resize=True)

    def _give_space(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)


@hookimpl
def image_formats() -> Format:
    """The format sparse."""
    return SparseFormat()
