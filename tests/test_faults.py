"""What plugins do wrong is counted for each of them, with the last sentence and its time."""

import asyncio
import re
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from goldherd import Capabilities, Format, hookimpl, limits
from goldherd.block.memory import MemoryImage
from goldherd.errors import GoldherdError, ImageError, LoginStatus, PluginError, ProtocolError
from goldherd.faults import Faults, Record
from goldherd.hooks import Hooks
from goldherd.model.options import FilterSpec

SESSION = SimpleNamespace(initiator="i", target="t", isid=bytes(6), tsih=1, address="a")
OPENER = SimpleNamespace(parent=None, search=())


def hooks_with(**functions: Any) -> Hooks:
    """The plugin `guest` with these hooks, and `good` with none."""
    hooks = Hooks([])
    plugin = SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})
    assert hooks.register(plugin, "guest") and hooks.register(SimpleNamespace(), "good"), hooks.declined
    return hooks


def boom(*_: object) -> Any:
    raise ValueError("boom")


def counted(hooks: Hooks, times: int, sentence: str) -> None:
    """The plugin has so many faults, and the last of them is that."""
    faults, last, at = hooks.faults.of("guest")
    assert faults == times and last is not None and re.search(sentence, last), (faults, last)
    assert at is not None and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at)
    assert hooks.faults.of("good") == Record(0, None, None)


@pytest.mark.parametrize("hook", ["redirect_login", "start_login", "list_targets"])
def test_a_question_of_a_login_that_fails_is_one_fault(hook: str) -> None:
    hooks = hooks_with(**{hook: lambda: boom()})
    arguments = {"redirect_login": ("i", "t", "p"), "start_login": ("i", "t", None), "list_targets": ("i", "p", [])}
    for times in (1, 2):
        with pytest.raises(PluginError):
            asyncio.run(getattr(hooks, hook)(*arguments[hook]))
        counted(hooks, times, rf"The plugin guest failed in {hook} \(ValueError: boom\)")


def test_a_question_that_is_answered_late_and_wrong_is_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOOK_SECONDS", 0.1)
    go_on, ended = threading.Event(), threading.Event()

    def late() -> None:
        go_on.wait()
        try:
            boom()
        finally:
            ended.set()

    hooks = hooks_with(start_login=late)
    with pytest.raises(PluginError):
        asyncio.run(hooks.start_login("i", "t", None))
    counted(hooks, 1, "no answer within 0.1 s")
    go_on.set()
    assert ended.wait(10)
    hooks.settle()
    counted(hooks, 1, "no answer within 0.1 s")


def test_calls_that_are_refused_because_others_hang_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOOK_SECONDS", 0.1)
    monkeypatch.setattr(limits, "HOOK_THREADS", 1)
    monkeypatch.setattr(limits, "HOOK_CALLS_WAITING_MAX", 1)
    go_on = threading.Event()
    hooks = hooks_with(start_login=lambda: go_on.wait())

    async def ask() -> None:
        await asyncio.gather(*(hooks.start_login("i", "t", None) for _ in range(4)), return_exceptions=True)

    asyncio.run(ask())
    go_on.set()
    assert hooks.faults.of("guest").faults == 4


def test_a_wrong_password_is_no_fault_of_the_plugin() -> None:
    def refuse() -> None:
        raise ProtocolError("The word is wrong.", login_status=LoginStatus(2, 1))

    hooks = hooks_with(start_login=refuse)
    with pytest.raises(ProtocolError):
        asyncio.run(hooks.start_login("i", "t", None))
    assert hooks.faults.of("guest") == Record(0, None, None)


@pytest.mark.parametrize("failure", [ValueError("boom"), ImageError("A notification can't open this.")])
def test_a_notification_that_fails_is_a_fault(failure: Exception) -> None:
    def fail() -> None:
        raise failure

    hooks = hooks_with(session_opened=fail)
    hooks.session_opened(SESSION)
    hooks.settle()
    counted(hooks, 1, f"The plugin guest failed in session_opened .{type(failure).__name__}: ")


def test_notifications_that_are_not_taken_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOOKS_SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(limits, "NOTIFICATIONS_WAITING_MAX", 1)
    go_on, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait()

    hooks = hooks_with(session_closed=wait)
    hooks.session_closed(SESSION, "logout")
    assert begun.wait(10)
    for _ in range(3):  # one waits
        hooks.session_closed(SESSION, "logout")
    counted(hooks, 2, "the notification is dropped")
    hooks.settle()
    counted(hooks, 3, "does not return")
    go_on.set()


class BadFormat(Format):
    """A format whose images are numbers."""

    name = "bad"
    capabilities = Capabilities(file=False)

    def open(self, location: str, mode: str, opener: object, options: object) -> Any:
        return 7

    def check(self, location: str) -> Any:
        raise SystemExit(3)


def test_a_format_that_fails_or_answers_nonsense_is_at_fault() -> None:
    formats = (hooks := hooks_with(image_formats=lambda: BadFormat())).formats
    with pytest.raises(PluginError):
        formats.check("bad:x")
    counted(hooks, 1, "check of the format bad .SystemExit: 3")
    with pytest.raises(PluginError):
        formats.open("bad:x", "r", OPENER)
    counted(hooks, 2, "open of the format bad .it answered with int instead of an Image")


@pytest.mark.parametrize("answer", [boom, lambda: 7])
def test_a_declined_format_is_one_fault(answer: Any) -> None:
    hooks = hooks_with(image_formats=lambda: answer())
    assert hooks.formats.find("bad") is None
    counted(hooks, 1, "ValueError: boom" if answer is boom else "A format of the plugin guest is not used")
    assert len(hooks.declined) == 1


def test_the_short_door_and_filters_are_charged_to_their_plugin() -> None:
    hooks = hooks_with(open_image=lambda: 7, wrap_image=lambda: "x")
    with pytest.raises(PluginError, match="The plugin guest failed in open_image"):
        hooks.formats.open("zip:x", "r", OPENER)
    counted(hooks, 1, "failed in open_image .it answered with int")
    with pytest.raises(PluginError, match="The plugin guest failed in wrap_image"):
        hooks.formats.wrap(MemoryImage(4096), [FilterSpec("slow", ())])
    counted(hooks, 2, "failed in wrap_image .it answered with str")


def test_a_long_sentence_is_cut() -> None:
    faults = Faults()
    assert isinstance(faults.charge("guest", "open_image", ValueError("x" * 100_000)), GoldherdError)
    last = faults.of("guest").last
    assert last is not None and len(last) == limits.FAULT_SENTENCE_CHARACTERS_MAX and last.endswith("...")


def test_faults_of_many_threads_are_all_counted() -> None:
    faults = Faults()

    def count() -> None:
        for _ in range(500):
            faults.count("guest", "A sentence.")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults.of("guest").faults == 2000
