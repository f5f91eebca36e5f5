"""FILE[,option...] of `goldherd export`, read into a LunConfig: what each option means is one table."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from goldherd.errors import ImageError, SettingsError
from goldherd.model.options import FilterSpec, read_options
from goldherd.model.targets import LunConfig

if TYPE_CHECKING:
    from goldherd.formats import Formats

BLOCK_SIZES: Final = (512, 4096)
_FLAGS: Final[dict[str, dict[str, Any]]] = {
    "read-only": {"read_only": True},
    "removable": {"removable": True},
    "thick": {"thin": False},
}


def _block_size(option: str, value: str) -> int:
    if value not in map(str, BLOCK_SIZES):
        raise typer.BadParameter(f"{option} can be {' or '.join(map(str, BLOCK_SIZES))}, not '{value}'.")
    return int(value)


def _format(option: str, value: str) -> str:
    if not value.replace("-", "").isalnum():
        raise typer.BadParameter(f"{option} needs the name of an image format, such as raw or vhd, not '{value}'.")
    return value


_VALUES: Final[dict[str, tuple[str, Callable[[str, str], Any]]]] = {
    "block-size": ("block_size", _block_size),
    "physical-block-size": ("physical_block_size", _block_size),
    "format": ("format", _format),
}
OPTIONS: Final = (*_FLAGS, *_VALUES)
_OPTION: Final = re.compile(r"[a-z][a-z0-9-]*")


def parse_lun(text: str, lun: int, filters: tuple[FilterSpec, ...] = ()) -> LunConfig:
    """Reads one FILE[,option...] or FORMAT:LOCATION[,option...].

    A file may have commas and colons in its name. A location that is no file reaches its format as it was written.
    Options that are not of the LUN are those of the format.

    Raises typer.BadParameter for an option that can't be one, ImageError for a file that doesn't exist.
    """
    parts = text.split(",")
    # The longest beginning that is a file is the file: what follows are options.
    for count in range(len(parts), 0, -1):
        path = Path(",".join(parts[:count])).expanduser()
        if is_there(path):
            return _with_options(LunConfig(lun, str(_checked(path)), filters=filters), parts[count:])
    format_name, colon, rest = text.partition(":")
    if colon and _OPTION.fullmatch(format_name):
        location, options = _split_location(rest)
        return _with_options(LunConfig(lun, location, format=format_name, filters=filters), options)
    _with_options(LunConfig(lun, parts[0]), parts[1:])
    raise ImageError(f"There is no file {parts[0]}: check the name.", path=parts[0])


def check_options(lun: LunConfig, formats: "Formats") -> None:
    """Raises typer.BadParameter for options that the LUN's format does not have."""
    name = lun.format or formats.probe(lun.path)
    try:
        read_options(formats.options(name), lun.options, f"The format {name}")
    except SettingsError as error:
        raise typer.BadParameter(f"{error} The other per-file options are {', '.join(OPTIONS)}.") from None


def is_there(path: Path) -> bool:
    """Whether there is such a file; a location that can't be a path is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _split_location(text: str) -> tuple[str, list[str]]:
    """What stands behind "FORMAT:" as location and options.

    The longest beginning that is a file is the location. A location that is none reaches up to the first comma behind
    which every part can be an option.
    """
    parts = text.split(",")
    for count in range(len(parts), 0, -1):
        path = Path(",".join(parts[:count])).expanduser()
        if is_there(path):
            return str(_checked(path)), parts[count:]
    count = len(parts)
    while count > 1 and _OPTION.fullmatch(parts[count - 1].partition("=")[0]):
        count -= 1
    return ",".join(parts[:count]), parts[count:]


def _checked(path: Path) -> Path:
    if path.is_dir():
        raise ImageError(f"{path} is a folder: name a disk image or a block device.", path=str(path))
    return path


def _with_options(config: LunConfig, options: list[str]) -> LunConfig:
    changes: dict[str, Any] = {}
    others: list[tuple[str, str]] = []
    for option in options:
        name, equals, value = option.partition("=")
        if name in _FLAGS and not equals:
            changes |= _FLAGS[name]
        elif name in _VALUES and value:
            field, read = _VALUES[name]
            changes[field] = read(name, value)
        elif name in OPTIONS or not _OPTION.fullmatch(name) or (equals and not value):
            raise typer.BadParameter(
                f"'{option}' is not a per-file option; there are {', '.join(OPTIONS)}, and those of the format."
            )
        else:
            others.append((name, value))
    config = replace(config, **changes, options=tuple(others))
    # A physical block is never smaller than a logical one (SBC-3 4.6).
    return replace(config, physical_block_size=max(config.physical_block_size, config.block_size))
