"""Signatures of file.pyx; see there and file.pxd for the contracts."""

from goldherd.block.image import NativeImage
from goldherd.files.failed import Failure

class FileImage(NativeImage):
    """A byte range of an open file as a disk."""

    fd: int
    def __init__(
        self,
        fd: int,
        size_bytes: int,
        *,
        start: int = ...,
        read_only: bool = ...,
        path: str = ...,
        failure: Failure | None = ...,
    ) -> None: ...
    def refresh(self) -> int: ...
    def describe(self) -> dict[str, object]: ...
