"""Serves a disk image stored in a zip file: goldherd export zip:disk.zip"""

import zipfile

from goldherd import Image, hookimpl
from goldherd.errors import ImageError


class ZipImage(Image):
    """The first file of an archive, unpacked into memory; it can't be written."""

    def __init__(self, path: str) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                self._data = archive.read(archive.namelist()[0])
        except (OSError, IndexError, RuntimeError, zipfile.BadZipFile) as error:
            raise ImageError(
                f"{path} holds no disk: {error}. Name a zip file with one image in it.", path=path
            ) from error
        super().__init__(size_bytes=len(self._data), read_only=True, path=path)

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        target[:] = self._data[offset_bytes : offset_bytes + len(target)]


@hookimpl
def open_image(url: str) -> Image | None:
    return ZipImage(url.removeprefix("zip:")) if url.startswith("zip:") else None
