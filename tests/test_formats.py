"""The registry of formats: who is taken, who is declined, what is asked of them; and containers of other programs."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from goldherd import Capabilities, Format, Place, hookimpl
from goldherd.block.containers import CONTAINERS, Container
from goldherd.block.memory import MemoryImage
from goldherd.errors import ImageError, PluginError, SettingsError
from goldherd.hooks import BUILTIN, Hooks
from pydantic import BaseModel

OURS = tuple((name, BUILTIN[name]) for name in ("backend_raw", "backend_sparse", "vhd"))


@dataclass(frozen=True)
class FarOptions:
    """Options of a dataclass."""

    retries: int = 3
    keep_alive: bool = False


class CheeseOptions(BaseModel):
    """Options of a pydantic model."""

    holes: int = 0


class FarFormat(Format):
    """Disks that are no files."""

    name = "far"
    options = FarOptions
    capabilities = Capabilities(write=True, file=False)

    def __init__(self):
        self.asked = []

    def open(self, location, mode, opener, options):
        self.asked.append((location, mode, options))
        return MemoryImage(4096, read_only=mode == "r")


class CheeseFormat(Format):
    """Children over anything; can't be written; fails in check."""

    name = "cheese"
    options = CheeseOptions
    capabilities = Capabilities(create=True, parents=frozenset({"*"}))

    def __init__(self):
        self.made = []

    def open(self, location, mode, opener, options):
        assert mode == "r"

    def create(self, location, size_bytes, parent, options):
        self.made.append((location, size_bytes, parent, options.holes))

    def check(self, location):
        raise ZeroDivisionError


def formats_with(*formats, sources=OURS):
    hooks = Hooks(sources)
    for number, each in enumerate(formats):
        plugin = SimpleNamespace(image_formats=hookimpl(lambda each=each: each))
        assert hooks.register(plugin, f"plugin{number}"), hooks.declined
    return hooks


OPENER = SimpleNamespace(parent=None, search=())


def test_location_reaches_the_format_unchanged() -> None:
    far = FarFormat()
    formats = formats_with(far).formats
    formats.open("far:http://host//a/../d.raw?x=1#%20", "r", OPENER)
    assert far.asked == [("http://host//a/../d.raw?x=1#%20", "r", FarOptions())]


def test_options_are_read_into_the_formats_own_type() -> None:
    far, cheese = FarFormat(), CheeseFormat()
    formats = formats_with(far, cheese).formats
    formats.open("far:x", "rw", OPENER, (("retries", "7"), ("keep-alive", "")))
    assert far.asked == [("x", "rw", FarOptions(7, True))]
    formats.create("cheese:x", 512, Place("raw", "/golden"), (("holes", "2"),))
    assert cheese.made == [("x", 512, Place("raw", "/golden"), 2)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((("retrys", "7"),), "The format far has the options retries, keep-alive, so 'retrys' can't be given"),
        ((("retries", "many"),), "The format far can't take retries=many"),
        ((("retries", "1"), ("retries", "2")), "only once"),
    ],
)
def test_option_that_does_not_fit_is_refused(options: tuple[tuple[str, str], ...], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        formats_with(FarFormat()).formats.open("far:x", "r", OPENER, options)


def test_format_that_can_not_be_written_is_opened_for_reading() -> None:
    with pytest.raises(
        PluginError, match=r"plugin0 failed in open of the format \w+ \(it answered with NoneType instead of an Image"
    ):
        formats_with(CheeseFormat()).formats.open("cheese:x", "rw", OPENER)


def test_what_a_format_raises_is_charged_to_its_plugin() -> None:
    with pytest.raises(PluginError, match="plugin0 failed in check of the format cheese"):
        formats_with(CheeseFormat()).formats.check("cheese:x")


def test_format_of_a_taken_name_is_declined_and_the_first_stays() -> None:
    class Mine(FarFormat):
        name = "vhd"

    hooks = formats_with(Mine(), FarFormat())
    assert hooks.formats.owner("vhd") == "vhd"
    assert hooks.formats.owner("far") == "plugin1"
    (declined,) = hooks.declined
    assert declined.name == "plugin0" and "has a format vhd already" in declined.reason


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "a:b", 7])
def test_format_of_a_bad_name_is_declined(name: object) -> None:
    bad = FarFormat()
    bad.name = name  # type: ignore[misc,assignment]
    hooks = formats_with(bad)
    assert [form.name for form in hooks.formats] == ["raw", "sparse", "vhd", "vhd-fixed"]
    assert len(hooks.declined) == 1


def test_what_is_no_format_is_declined() -> None:
    hooks = formats_with(7, "raw", [FarFormat, FarFormat()])
    assert [form.name for form in hooks.formats][-1] == "far"
    assert len(hooks.declined) == 3


def test_children_are_of_their_parents_own_format_or_of_one_that_takes_it() -> None:
    formats = formats_with(FarFormat(), CheeseFormat()).formats
    children = {name: formats.child_format(name) for name in ("vhd", "vhd-fixed", "cheese", "far", "raw")}
    assert {name: form and form.name for name, form in children.items()} == {
        "vhd": "vhd",
        "vhd-fixed": "vhd",
        "cheese": "cheese",
        "far": "cheese",
        "raw": "cheese",
    }
    assert formats_with().formats.child_format("raw") is None


# --- containers ---


def marked(container: Container) -> list[bytes]:
    """Files of whole sectors, one for each mark."""
    body = bytes(8192)
    files = [body[:at] + mark + body[at + len(mark) :] for at, mark in container.heads]
    return files + [body[: len(body) - back] + mark + bytes(back - len(mark)) for back, mark in container.tails]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container.name)
@pytest.mark.parametrize("name", ["disk.img", "disk", "disk.raw", "disk.iso"])
def test_container_of_another_program_is_no_raw_disk(tmp_path: Path, container: Container, name: str) -> None:
    formats = formats_with().formats
    path = tmp_path / name
    for content in marked(container):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=f"carries the mark of an? {container.name}: .* or say format=raw"):
            formats.probe(path)
        formats.open(f"raw:{path}", "r", OPENER).close()


@pytest.mark.parametrize("container", CONTAINERS[1:], ids=lambda container: container.name)
def test_name_that_promises_a_container_is_no_raw_disk(tmp_path: Path, container: Container) -> None:
    for suffix in container.suffixes:
        path = tmp_path / f"disk{suffix.upper()}"
        path.write_bytes(bytes(4096))
        with pytest.raises(ImageError, match=f"has the name, and not the content, of an? {container.name}"):
            formats_with().formats.probe(path)


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container.name)
def test_nothing_that_carries_a_known_mark_is_to_be_padded(tmp_path: Path, container: Container) -> None:
    path = tmp_path / "disk"
    for content in marked(container):
        path.write_bytes(content[:1000] + content[-600:] if container.heads else content[1:])
        with pytest.raises(ImageError, match="It carries the mark of a container") as refusal:
            formats_with().formats.open(f"raw:{path}", "r", OPENER)
        assert "truncate" not in str(refusal.value)


def test_plugin_that_knows_a_container_is_asked_first(tmp_path: Path) -> None:
    class Qcow(FarFormat):
        name = "qcow2"

        def probe(self, path: Path, head: bytes, tail: bytes) -> bool:
            return head.startswith(b"QFI\xfb")

    path = tmp_path / "disk.img"
    path.write_bytes(b"QFI\xfb".ljust(4096, b"\0"))
    assert formats_with(Qcow()).formats.probe(path) == "qcow2"
