"""A filter that makes a disk sick: goldherd export --filter error:on=write,errno=ENOSPC,after=100 disk.vhd"""

import errno as numbers
import os
import random
import threading
from dataclasses import dataclass
from typing import Literal

from goldherd import FilterImage, FilterSpec, Image, hookimpl
from goldherd.errors import SettingsError

SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class ErrorOptions:
    """Which requests fail, how, and how often."""

    on: Literal["any", "read", "write", "flush", "discard"] = "any"
    """The kind of request that fails."""
    errno: str = "EIO"
    """The name of the system error that the disk reports."""
    first: int = 0
    """The first sick sector of 512 bytes."""
    last: int | None = None
    """The last one; by default the disk is sick to its end. A flush knows no sectors."""
    after: int = 0
    """So many requests of the kind are good before."""
    times: int | None = None
    """So many fail, and then the disk is well again; by default for ever."""
    percent: float = 100
    """The share of the requests that fail, drawn with `seed`."""
    seed: int = 0
    """Where the draws begin: the same requests in the same order fail again."""


class ErrorImage(FilterImage):
    """The image below, except where and when it is sick. A request that fails reaches nothing below."""

    def __init__(self, below: Image, options: ErrorOptions) -> None:
        super().__init__(below)
        number = getattr(numbers, options.errno, None)
        if not isinstance(number, int):
            raise SettingsError(f"The filter error knows no system error '{options.errno}': EIO and ENOSPC are some.")
        if not 0 <= options.percent <= 100:
            raise SettingsError(f"The filter error takes percent=0 to percent=100, not {options.percent:g}.")
        self._options = options
        self._number = number
        self._first_byte = options.first * SECTOR_BYTES
        self._end_byte = below.size_bytes if options.last is None else (options.last + 1) * SECTOR_BYTES
        self._lock = threading.Lock()
        self._draws = random.Random(options.seed)
        self._seen = 0
        self._failed = 0

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        self._judge("read", offset_bytes, len(target))
        super().read_into(offset_bytes, target)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        self._judge("write", offset_bytes, len(data))
        super().write(offset_bytes, data)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._judge("discard", offset_bytes, length_bytes)
        super().discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        self._judge("flush", self._first_byte, 1)
        super().flush()

    def _judge(self, kind: str, offset_bytes: int, length_bytes: int) -> None:
        """Raises OSError if this request is one of those that fail."""
        options = self._options
        if options.on not in ("any", kind):
            return
        if offset_bytes >= self._end_byte or offset_bytes + length_bytes <= self._first_byte:
            return
        with self._lock:
            self._seen += 1
            if self._seen <= options.after or self._failed == options.times:
                return
            if self._draws.random() * 100 >= options.percent:
                return
            self._failed += 1
        raise OSError(self._number, os.strerror(self._number), self.path)


@hookimpl
def image_filters() -> dict[str, type]:
    """The filter "error"."""
    return {"error": ErrorOptions}


@hookimpl
def wrap_image(image: Image, options: FilterSpec) -> Image | None:
    """The filter "error"."""
    return ErrorImage(image, options.read(ErrorOptions)) if options.name == "error" else None
