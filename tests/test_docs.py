"""The documentation of the hooks is complete, exact, and its examples run."""

import asyncio
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from goldherd import FilterSpec, hookspecs
from goldherd.block.memory import MemoryImage
from goldherd.errors import ImageError, LoginStatus, ProtocolError
from goldherd.hooks import Hooks

DOCS = Path(__file__).parent.parent / "docs"
HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
}
EXAMPLES = re.findall(r"```python\n(.*?)```", (DOCS / "plugins.md").read_text(), flags=re.S)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_documented_with_its_exact_arguments(name):
    arguments = ", ".join(inspect.signature(HOOKS[name]).parameters)
    assert f"### `{name}({arguments})`" in (DOCS / "hooks.md").read_text()


def test_no_hook_is_documented_that_does_not_exist():
    assert set(re.findall(r"### `(\w+)\(", (DOCS / "hooks.md").read_text())) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_has_a_test_named_after_it(name):
    assert f"def test_{name}(" in (Path(__file__).parent / "test_hooks.py").read_text()


@pytest.mark.parametrize("name", HOOKS)
def test_hook_says_what_it_is_for(name):
    assert inspect.getdoc(HOOKS[name])


def hooks_of_example(number):
    """Runs an example of plugins.md as a module and registers it."""
    module = ModuleType(f"example{number}")
    exec(compile(EXAMPLES[number], f"plugins.md example {number}", "exec"), vars(module))
    hooks = Hooks([])
    assert hooks.register(module, module.__name__), hooks.declined
    return hooks


def test_example_of_a_backend():
    hooks = hooks_of_example(0)
    image = hooks.formats.open("pattern:a5", "r", SimpleNamespace())
    assert image.read(512, 1024) == b"\xa5" * 1024
    with pytest.raises(ImageError):
        hooks.formats.open("pattern:zz", "r", SimpleNamespace())


def test_example_of_a_format(tmp_path):
    formats = hooks_of_example(1).formats
    disk = tmp_path / "lab.hexdisk"
    formats.create(f"hex:{disk}", 4096)
    assert formats.probe(disk) == "hex"
    image = formats.open(f"hex:{disk}", "rw", SimpleNamespace(), (("upper", ""),))
    image.write(512, memoryview(b"\xab" * 1024))
    image.close()
    assert disk.read_text().splitlines()[1] == "AB" * 512
    image = formats.open(f"hex:{disk}", "r", SimpleNamespace())
    assert image.read(256, 768) == bytes(256) + b"\xab" * 512
    image.close()
    with pytest.raises(ImageError, match="makes no snapshots"):
        formats.snapshot(f"hex:{disk}", "copy")


def test_example_of_a_filter():
    formats = hooks_of_example(2).formats
    image = formats.wrap(MemoryImage(4096), [FilterSpec("count")])
    assert image.read(512, 1024) == bytes(1024)
    assert image.read_bytes == 1024


def test_example_of_a_way_to_prove_an_identity():
    hooks = hooks_of_example(3)
    assert asyncio.run(hooks.start_login("iqn.2026-11.com.example:pc-002", "t", None)) is None
    exchange = asyncio.run(hooks.start_login("iqn.2026-11.com.example:pc-001", "t", None))
    with pytest.raises(ProtocolError) as refusal:
        asyncio.run(exchange.step({}))
    assert refusal.value.login_status == LoginStatus(2, 1)
    exchange = asyncio.run(hooks.start_login("iqn.2026-11.com.example:pc-001", "t", None))
    assert asyncio.run(exchange.step({"X-com.example.sticker.text": "blue heron"})) == {}
    assert exchange.finished


def test_example_of_discovery():
    hooks = hooks_of_example(4)
    targets = [SimpleNamespace(name=f"iqn.2026-11.a:{lab}-pc-001", alias="") for lab in ("lab1", "lab2")]
    assert asyncio.run(hooks.list_targets("iqn.2026-11.a:lab1-pc-007", "p", targets)) == [targets[0].name]
    assert len(asyncio.run(hooks.list_targets("iqn.2026-11.a:office", "p", targets))) == 2


def test_example_of_a_test(monkeypatch):
    module = ModuleType("goldherd_pattern")
    exec(EXAMPLES[0], vars(module))
    monkeypatch.setitem(sys.modules, "goldherd_pattern", module)
    exec(EXAMPLES[5], {})
