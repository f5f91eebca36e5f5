"""Signatures of image.pyx; see there and image.pxd for the contracts."""

import uuid as _uuid

from goldherd.block.image import Image, NativeImage
from goldherd.files.failed import Failure

from goldherd_plugins.vhd.left import LeftTables
from goldherd_plugins.vhd.survey import Survey

class VhdImage(NativeImage):
    """A dynamic or differencing VHD."""

    fd: int
    parent: Image | None
    survey: Survey
    def __init__(
        self,
        fd: int,
        survey: Survey,
        *,
        parent: Image | None = ...,
        read_only: bool = ...,
        failure: Failure | None = ...,
        left: LeftTables | None = ...,
    ) -> None: ...
    @property
    def uuid(self) -> _uuid.UUID: ...
    @property
    def disk_type(self) -> int: ...
    @property
    def kind(self) -> str: ...
    def describe(self) -> dict[str, object]: ...
