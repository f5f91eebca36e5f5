"""Signatures of golden.pyx."""

from typing import Any, Self

from goldherd.block.image import Image, NativeImage

class GoldenCache:
    """The memory in which sealed parents live."""

    slot_count: int
    fetches: int
    evictions: int
    def __new__(cls, budget_bytes: int) -> Self: ...
    @property
    def budget_bytes(self) -> int: ...
    @property
    def resident_bytes(self) -> int: ...
    def adopt(self, source: Image) -> GoldenImage: ...
    def describe(self) -> dict[str, Any]: ...

class GoldenImage(NativeImage):
    """A sealed image whose sectors are read from the golden cache."""

    cache: GoldenCache
    source: Image
    granules: int
    def __init__(self, cache: GoldenCache, source: Image) -> None: ...
    @property
    def resident_bytes(self) -> int: ...
    def __getattr__(self, name: str, /) -> Any: ...
