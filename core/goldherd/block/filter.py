"""An image over an image: the base class of filters, which see every read and write of a disk.

A filter in plain Python derives from FilterImage and overrides what it changes. A compiled one derives from
NativeImage, keeps the image below in a `cdef Image` attribute and calls its C door. A disk without filters is the
format's own image: nothing of this file lies on its way.
"""

from goldherd.block.image import Image


class FilterImage(Image):
    """Passes everything on to the image below.

    Args:
        below: the filtered image; the filter owns it and closes it.
    """

    def __init__(self, below: Image) -> None:
        super().__init__(below.size_bytes, read_only=below.read_only, path=below.path)
        self.below = below
        if below.sync_failure is not None:
            self.fail(below.sync_failure)

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        self.below.read_into(offset_bytes, target)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        self.below.write(offset_bytes, data)

    def flush(self) -> None:
        self.below.flush()

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self.below.discard(offset_bytes, length_bytes)

    def extent_at(self, offset_bytes: int, length_bytes: int) -> tuple[int, bool]:
        return self.below.extent_at(offset_bytes, length_bytes)

    def stop_growth(self, stopped: bool) -> None:
        self.below.stop_growth(stopped)

    def refresh(self) -> int:
        return self.below.refresh()

    def close(self) -> None:
        self.below.close()


class BorrowedImage(FilterImage):
    """A filtered view of an image that others use too: closing it leaves the image open."""

    def close(self) -> None:
        """The image below belongs to others."""
