"""FILE[,option...] of `goldherd export`, read into a LunConfig: what each option means is one table."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import typer

from goldherd.errors import ImageError
from goldherd.model.targets import LunConfig

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


def parse_lun(text: str, lun: int) -> LunConfig:
    """Reads one FILE[,option...]; the file may have commas in its name, and may be given as FORMAT:FILE.

    Raises typer.BadParameter for an option that doesn't exist, ImageError for a file that doesn't.
    """
    parts = text.split(",")
    # The longest beginning that is a file is the file: what follows are options.
    for count in range(len(parts), 0, -1):
        path = Path(",".join(parts[:count])).expanduser()
        if path.exists():
            return _with_options(LunConfig(lun, _checked(path)), parts[count:])
    format_name, colon, rest = parts[0].partition(":")
    if colon and format_name.isalnum():
        return _with_options(LunConfig(lun, Path(rest), format=format_name), parts[1:])
    _with_options(LunConfig(lun, Path(parts[0])), parts[1:])
    raise ImageError(f"There is no file {parts[0]}: check the name.", path=parts[0])


def _checked(path: Path) -> Path:
    if path.is_dir():
        raise ImageError(f"{path} is a folder: name a disk image or a block device.", path=str(path))
    return path


def _with_options(config: LunConfig, options: list[str]) -> LunConfig:
    changes: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name in _FLAGS and not equals:
            changes |= _FLAGS[name]
        elif name in _VALUES and value:
            field, read = _VALUES[name]
            changes[field] = read(name, value)
        else:
            raise typer.BadParameter(f"'{option}' is not a per-file option; there are {', '.join(OPTIONS)}.")
    config = replace(config, **changes)
    # A physical block is never smaller than a logical one (SBC-3 4.6).
    return replace(config, physical_block_size=max(config.physical_block_size, config.block_size))
