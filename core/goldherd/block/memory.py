"""The reference image: a whole disk in a bytearray. Shortest correct backend, used by tests and as an example."""

from goldherd.block.image import Image
from goldherd.errors import ImageError


class MemoryImage(Image):
    """A disk in memory; what is written is there at once and gone with the process."""

    def __init__(self, size_bytes: int, *, read_only: bool = False) -> None:
        super().__init__(size_bytes, read_only=read_only, path="memory")
        self._data = bytearray(size_bytes)

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        target[:] = self._data[offset_bytes : offset_bytes + len(target)]

    def write(self, offset_bytes: int, data: memoryview) -> None:
        if self.read_only:
            raise ImageError("This disk is read-only.", path=self.path)
        self._data[offset_bytes : offset_bytes + len(data)] = data
