"""The table of operations: whole, typed, and free of any face's words."""

import ast
import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import goldherd
import pytest
from goldherd.errors import ErrorKind, GoldherdError
from goldherd.model.images import VersionRecord
from goldherd.model.progress import Progress
from goldherd.services import requests
from goldherd.services.context import Services
from goldherd.services.operations import BY_NAME, TABLE, Operation, run, schema

CORE = Path(goldherd.__file__).parent
FACES = {"cli", "app.py", "settings.py", "inhibitor.py"}
"""What speaks to people, and to a program of the system by its options."""
STARTS_A_DAEMON = Path("target/handover/giving.py")
"""By the command line, as a supervisor does."""
FACE_WORDS = re.compile(
    r"goldherd (?:export|image|node|serve|status|plugins|doctor|drain|stop)\b|(?<![\w-])--[a-z][a-z-]+", re.IGNORECASE
)
"""Commands and options: only a face knows them."""


@pytest.mark.parametrize("operation", TABLE, ids=lambda operation: operation.name)
def test_function_takes_the_request_and_gives_the_answer_of_its_line(operation: Operation) -> None:
    function = operation.load()
    hints = typing.get_type_hints(function)
    answer = hints.pop("return")
    expected: list[Any] = [Services, operation.request, *([Progress] if operation.job else [])]
    assert list(hints.values()) == expected
    assert answer == operation.answer
    assert typing.get_args(operation.request.__orig_bases__[0]) == (answer,)  # type: ignore[attr-defined]
    assert function.__doc__ is not None and function.__doc__.startswith(f"{operation.name}.")


@pytest.mark.parametrize("operation", TABLE, ids=lambda operation: operation.name)
def test_request_and_answer_have_a_schema(operation: Operation) -> None:
    fields = schema(operation.request)["properties"]
    assert schema(operation.answer)
    assert set(re.findall(r"{(\w+)}", operation.path)) <= fields.keys()
    assert operation.summary.endswith(".")
    assert ("dry_run" in fields) == operation.removes_data


def test_names_and_routes_are_given_once() -> None:
    assert len(BY_NAME) == len(TABLE)
    assert len({(operation.method, operation.path) for operation in TABLE}) == len(TABLE)


def test_every_way_to_act_changes_by_a_method_that_may() -> None:
    assert all(operation.method == "GET" for operation in TABLE if operation.role == "viewer")
    assert all(operation.method != "GET" for operation in TABLE if operation.role != "viewer")


def test_operations_do_what_the_table_says(services: Services, make_raw: Callable[..., Path]) -> None:
    done: list[str] = []
    services.audit = lambda name, request: done.append(name)
    version: VersionRecord = run(services, "image.import", requests.ImportImage(str(make_raw()), "lab"))
    assert version.name == "lab@1"
    added = run(services, "node.add", requests.AddNodes(("pc-[1-3]",), "lab", macs=None, policy="reset"))
    assert added.created == ("pc-1", "pc-2", "pc-3")
    assert [node.target for node in run(services, "node.list", requests.ListNodes(("pc-2",)))] == [
        services.target_name("pc-2")
    ]
    assert run(services, "image.show", requests.ShowImage("lab")).nodes == added.created
    assert run(services, "image.verify", requests.VerifyImage("lab@1")).seal_renewed is False
    assert run(services, "image.activate", requests.ActivateImage("lab@1")).changed is False
    assert run(services, "node.set", requests.SetNodes(("pc-1",), policy="keep")).changed == ("pc-1",)
    assert run(services, "node.reset", requests.ResetNodes(("pc-1",))).nodes == ("pc-1",)
    assert len(run(services, "node.remove", requests.RemoveNodes(("pc-[1-3]",))).files) == 3
    assert run(services, "status", requests.ShowStatus()).catalog.nodes == 0
    assert "vhd" in {plugin.record.name for plugin in run(services, "plugins", requests.ListPlugins())}
    assert run(services, "image.remove", requests.RemoveImage("lab", all_versions=True)).names == ("lab@1",)
    assert done[0] == "image.import" and len(done) == 12


def test_refused_operation_is_not_audited_as_done(services: Services) -> None:
    done: list[str] = []
    services.audit = lambda name, request: done.append(name)
    with pytest.raises(GoldherdError) as refused:
        run(services, "image.show", requests.ShowImage("none"))
    assert refused.value.kind == ErrorKind.NOT_FOUND
    assert [tuple(about) for about in refused.value.about] == [("image", "none")]
    assert done == []


def test_request_of_another_operation_is_an_error_of_the_program(services: Services) -> None:
    with pytest.raises(TypeError):
        run(services, "node.add", requests.ShowStatus())


@pytest.mark.parametrize(
    ("failure", "words"),
    [(MemoryError(), "no memory is left"), (RuntimeError("can't start new thread"), "may start no more threads")],
)
def test_shortage_of_memory_or_threads_is_named(
    services: Services, monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str
) -> None:
    def fails(*arguments: object) -> None:
        raise failure

    monkeypatch.setattr("goldherd.catalog.glance.totals", fails)
    with pytest.raises(GoldherdError, match=words) as refused:
        run(services, "status", requests.ShowStatus())
    assert refused.value.kind == ErrorKind.LIMIT


class Serving:
    """A daemon that tells, or refuses to tell."""

    def __init__(self, told: dict[str, Any] | GoldherdError) -> None:
        self.told = told

    def drain(self, on: bool) -> dict[str, Any] | None:
        return self.status() | {"draining": on}

    def ask_to_stop(self) -> None:
        self.told = {}

    def status(self) -> dict[str, Any]:
        if isinstance(self.told, GoldherdError):
            raise self.told
        return self.told


def test_status_and_plugins_tell_what_is_live(services: Services) -> None:
    quiet = run(services, "status", requests.ShowStatus())
    assert (quiet.running, quiet.daemon, quiet.withheld) == (False, None, None)
    fault = {"name": "vhd", "faults": 2, "last": "It failed.", "at": "2026-11-28T12:00:00Z"}
    told = {"sessions": [], "plugins": [fault]}
    services.live = Serving(told)
    busy = run(services, "status", requests.ShowStatus())
    assert (busy.running, busy.daemon, busy.withheld) == (True, told, None)
    (vhd,) = run(services, "plugins", requests.ListPlugins(("vhd",)))
    assert (vhd.faults, vhd.last_fault, vhd.fault_at) == (2, "It failed.", "2026-11-28T12:00:00Z")


def test_daemon_that_does_not_tell_this_user_is_no_failure(services: Services) -> None:
    services.live = Serving(GoldherdError("You may not ask.", kind=ErrorKind.NOT_PERMITTED))
    found = run(services, "status", requests.ShowStatus())
    assert (found.running, found.daemon, found.withheld) == (True, None, "You may not ask.")
    assert all(plugin.faults is None for plugin in run(services, "plugins", requests.ListPlugins()))
    services.live = Serving(GoldherdError("It answers nonsense."))
    for name, request in (("status", requests.ShowStatus()), ("plugins", requests.ListPlugins())):
        with pytest.raises(GoldherdError, match="nonsense"):
            run(services, name, request)


def test_secret_of_a_request_is_not_shown() -> None:
    assert "very-secret" not in repr(requests.AddNodes(("pc",), "lab", chap_user="u", chap_secret=b"very-secret"))


@pytest.mark.parametrize(
    "request_",
    [
        requests.AddNodes(("pc",), "lab", policy="often"),
        requests.AddNodes(("pc",), "lab", macs=("00:00:00:00:00:00",)),
        requests.AddNodes(("pc",), "lab", macs=("ff:ff:ff:ff:ff:ff",)),
        requests.AddNodes(("pc",), "lab", macs=("01:00:5e:00:00:01",)),
        requests.AddNodes(("pc",), "lab@x"),
        requests.AddNodes(("-",), "lab"),
        requests.AddNodes(("pc",), "lab", rules=("who:me",)),
        requests.AddNodes(("pc",), "lab", chap_user="u"),
    ],
)
def test_nonsense_is_invalid(services: Services, request_: requests.AddNodes) -> None:
    with pytest.raises(GoldherdError) as refused:
        run(services, "node.add", request_)
    assert refused.value.kind == ErrorKind.INVALID


def test_no_message_below_the_faces_names_a_command_or_an_option() -> None:
    found = []
    for path in sorted(CORE.rglob("*.py")):
        if path.relative_to(CORE).parts[0] in FACES or path.relative_to(CORE) == STARTS_A_DAEMON:
            continue
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if id(node) not in docstrings and FACE_WORDS.search(text):
                found.append(f"{path.relative_to(CORE)}:{node.lineno}: {text}")
    assert not found


def test_table_is_cheap_to_import() -> None:
    """The command line and the client read it before they know whether they need a database or a plugin."""
    source = inspect.getsource(__import__("goldherd.services.operations", fromlist=["TABLE"]))
    assert not re.search(r"^(?:import|from) (?:sqlalchemy|pydantic)", source, re.MULTILINE)
