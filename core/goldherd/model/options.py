"""Options of formats and filters: text as users write it, and the typed values that a plugin gets."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from goldherd.errors import SettingsError

OptionTexts = tuple[tuple[str, str], ...]
"""Names and values as they were written; the value of a bare name is ""."""


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """A filter as it was asked for: its name and its options, still text."""

    name: str
    options: OptionTexts = ()

    def __str__(self) -> str:
        """As parse_filter() reads it."""
        options = ",".join(f"{name}={value}" if value else name for name, value in self.options)
        return f"{self.name}:{options}" if options else self.name

    def read(self, kind: type[Any]) -> Any:
        """The options as an object of that type (a dataclass or a pydantic model); SettingsError if they don't fit."""
        return read_options(kind, self.options, f"The filter {self.name}")


def split_options(text: str) -> OptionTexts:
    """The options of "name=value,name,..."; empty parts are passed over."""
    parts = (part.partition("=") for part in text.split(",") if part)
    return tuple((name, value) for name, _, value in parts)


def parse_filter(text: str) -> FilterSpec:
    """Reads NAME or NAME:option=value,...; SettingsError when there is no name."""
    name, _, options = text.partition(":")
    if not name.replace("-", "").isalnum():
        raise SettingsError(f"A filter is written NAME or NAME:option=value,..., as in delay:ms=20, not '{text}'.")
    return FilterSpec(name, split_options(options))


def read_options(kind: type[Any], texts: Sequence[tuple[str, str]], owner: str) -> Any:
    """The options as an object of a dataclass or pydantic model.

    Args:
        kind: the type; an underscore of a field is written as a hyphen, a bare name means true.
        texts: names and values.
        owner: how the refusal begins, e.g. "The format vhd".

    Raises:
        SettingsError: an option that does not exist, is given twice or has a value that does not fit.
    """
    names = _fields(kind)
    values: dict[str, str] = {}
    for name, value in texts:
        field = name.replace("-", "_")
        if field not in names:
            known = ", ".join(each.replace("_", "-") for each in names)
            has = f"has the options {known}" if names else "has no options"
            raise SettingsError(f"{owner} {has}, so '{name}' can't be given.")
        if field in values:
            raise SettingsError(f"{owner} can take the option {name} only once.")
        values[field] = value or "true"
    if not values:
        return kind()
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"])).replace("_", "-")
        raise SettingsError(f"{owner} can't take {option}={first['input']}: {first['msg']}.") from None


def _fields(kind: type[Any]) -> list[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return list(kind.model_fields)
