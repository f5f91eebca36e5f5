"""A small file that is replaced as a whole: after a crash its content is the old one or the new one."""

import os
from pathlib import Path

from goldherd.files.newfile import sync_folder


class WholeFile:
    """One file whose content is read, replaced or removed as a whole; it need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def load(self) -> bytes | None:
        """The content; None when there is no file. Raises OSError."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def save(self, content: bytes) -> None:
        """Replaces the content, on stable storage when it returns; makes the folder. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f"{self._path.name}.new")
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        sync_folder(self._path.parent)

    def remove(self) -> None:
        """Removes the file, durably; returns at once when there is none. Raises OSError."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return
        sync_folder(self._path.parent)
