"""A filter that makes a disk slow: goldherd export --filter delay:ms=20 disk.vhd"""

import time
from dataclasses import dataclass

from goldherd import FilterImage, FilterSpec, Image, hookimpl
from goldherd.errors import SettingsError
from goldherd.limits import DELAY_MILLISECONDS_MAX


@dataclass(frozen=True, slots=True)
class DelayOptions:
    """How long each kind of request waits before it reaches the disk."""

    ms: int = 0
    """Milliseconds for every kind."""
    read_ms: int | None = None
    """Milliseconds for reads instead."""
    write_ms: int | None = None
    """Milliseconds for writes and discards instead."""
    flush_ms: int | None = None
    """Milliseconds for flushes instead."""

    def seconds(self, own: int | None) -> float:
        """What a kind with such an option waits; SettingsError out of bounds."""
        milliseconds = self.ms if own is None else own
        if not 0 <= milliseconds <= DELAY_MILLISECONDS_MAX:
            raise SettingsError(f"The filter delay waits from 0 to {DELAY_MILLISECONDS_MAX} ms, not {milliseconds}.")
        return milliseconds / 1000


class DelayImage(FilterImage):
    """The image below, later."""

    def __init__(self, below: Image, options: DelayOptions) -> None:
        super().__init__(below)
        self._read_seconds = options.seconds(options.read_ms)
        self._write_seconds = options.seconds(options.write_ms)
        self._flush_seconds = options.seconds(options.flush_ms)

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        time.sleep(self._read_seconds)
        super().read_into(offset_bytes, target)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        time.sleep(self._write_seconds)
        super().write(offset_bytes, data)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        time.sleep(self._write_seconds)
        super().discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        time.sleep(self._flush_seconds)
        super().flush()


@hookimpl
def image_filters() -> dict[str, type]:
    """The filter "delay"."""
    return {"delay": DelayOptions}


@hookimpl
def wrap_image(image: Image, options: FilterSpec) -> Image | None:
    """The filter "delay"."""
    return DelayImage(image, options.read(DelayOptions)) if options.name == "delay" else None
