"""A plugin that sleeps, exits, answers nonsense or prints harms nobody else, and is named."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from goldherd import limits
from goldherd.errors import LoginStatus, PluginError, ProtocolError
from goldherd.hooks import BUILTIN, Hooks
from goldherd.hookspecs import Redirect, hookimpl
from goldherd.model.targets import TargetConfig

TARGETS = [TargetConfig(f"iqn.2026-11.io.goldherd:{name}", ()) for name in "ab"]
QUESTIONS: dict[str, Callable[[Hooks], Any]] = {
    "list_targets": lambda hooks: hooks.list_targets("i", "p", TARGETS),
    "redirect_login": lambda hooks: hooks.redirect_login("i", "t", "p"),
    "start_login": lambda hooks: hooks.start_login("i", "t", None),
}


def hooks_with(**functions: Any) -> Hooks:
    """Ours, and the plugin `guest` with these hooks."""
    hooks = Hooks((name, BUILTIN[name]) for name in ("auth_none", "auth_chap", "discovery_sendtargets"))
    plugin = SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})
    assert hooks.register(plugin, "guest"), hooks.declined
    return hooks


@pytest.fixture
def forever(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What a sleeping plugin waits for: the end of the test."""
    monkeypatch.setattr(limits, "HOOK_SECONDS", 0.2)
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_hook_that_sleeps_delays_nobody_else_and_is_named(question: str, forever: threading.Event) -> None:
    hooks = hooks_with(**{question: lambda: forever.wait()})

    async def ask() -> int:
        asked = asyncio.ensure_future(QUESTIONS[question](hooks))
        others = 0
        while not asked.done():
            await asyncio.sleep(0.01)
            others += 1
        with pytest.raises(PluginError, match=rf"plugin guest failed in {question} \(no answer within 0.2 s"):
            await asked
        return others

    assert asyncio.run(ask()) > 3


def test_a_plugin_whose_threads_all_hang_is_refused_at_once(
    forever: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOOK_THREADS", 2)
    monkeypatch.setattr(limits, "HOOK_CALLS_WAITING_MAX", 3)
    hooks = hooks_with(start_login=lambda: forever.wait())

    async def ask() -> list[Any]:
        return await asyncio.gather(*(hooks.start_login("i", "t", None) for _ in range(9)), return_exceptions=True)

    failures = asyncio.run(ask())
    assert all(isinstance(failure, PluginError) for failure in failures)
    assert any("hangs in earlier calls" in str(failure) for failure in failures)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_hook_that_exits_ends_nothing(question: str, kind: str) -> None:
    def leave() -> None:
        raise SystemExit(3)

    async def leave_later() -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    hooks = hooks_with(**{question: leave if kind == "plain" else leave_later})
    for _ in range(2):  # its loop has outlived the first
        with pytest.raises(PluginError, match=f"plugin guest failed in {question} .SystemExit: 3"):
            asyncio.run(QUESTIONS[question](hooks))


def test_a_hook_may_be_a_coroutine() -> None:
    async def elsewhere(target: str) -> Redirect | None:
        await asyncio.sleep(0.01)
        return Redirect("192.0.2.9:3260") if target == "t" else None

    hooks = hooks_with(redirect_login=elsewhere)
    assert asyncio.run(hooks.redirect_login("i", "t", "p")) == Redirect("192.0.2.9:3260")
    assert asyncio.run(hooks.redirect_login("i", "u", "p")) is None


class Radius:
    """An exchange that asks another machine."""

    method, prefix, finished = "Z-radius", "X-radius.", False

    async def step(self, keys: dict[str, str]) -> dict[str, str]:
        await asyncio.sleep(0.01)
        if keys["X-radius.word"] != "right":
            raise ProtocolError("The word is wrong.", login_status=LoginStatus(2, 1))
        self.finished = True
        return {"X-radius.seen": "Yes"}


def test_a_step_of_an_authentication_may_be_a_coroutine() -> None:
    hooks = hooks_with(start_login=lambda: Radius())
    exchange = asyncio.run(hooks.start_login("i", "t", None))
    assert exchange is not None and not exchange.finished
    assert asyncio.run(exchange.step({"X-radius.word": "right"})) == {"X-radius.seen": "Yes"}
    assert exchange.finished
    exchange = asyncio.run(hooks.start_login("i", "t", None))
    assert exchange is not None
    with pytest.raises(ProtocolError, match="The word is wrong"):
        asyncio.run(exchange.step({"X-radius.word": "wrong"}))
    assert not exchange.finished


@pytest.mark.parametrize("answer", [7, "iqn.2026-11.io.goldherd:a", b"a", object(), [["a"]], iter([[]])])
def test_a_list_of_targets_that_is_none_is_charged_to_its_plugin(answer: object) -> None:
    with pytest.raises(PluginError, match="plugin guest failed in list_targets"):
        asyncio.run(hooks_with(list_targets=lambda: answer).list_targets("i", "p", TARGETS))


@pytest.mark.parametrize("answer", [7, "192.0.2.1:3260", Redirect(7), Redirect("192.0.2.1")])  # type: ignore[arg-type]
def test_a_redirect_that_is_none_is_charged_to_its_plugin(answer: object) -> None:
    with pytest.raises(PluginError, match="plugin guest failed in redirect_login"):
        asyncio.run(hooks_with(redirect_login=lambda: answer).redirect_login("i", "t", "p"))


EXCHANGE = {"method": "Z-x", "prefix": "X-x.", "finished": False, "step": dict}


@pytest.mark.parametrize(
    "wrong", [{"method": None}, {"method": ""}, {"prefix": ""}, {"prefix": 7}, {"finished": "no"}, {"step": None}]
)
def test_an_exchange_that_is_none_is_charged_to_its_plugin(wrong: dict[str, object]) -> None:
    hooks = hooks_with(start_login=lambda: SimpleNamespace(**EXCHANGE | wrong))
    with pytest.raises(PluginError, match="plugin guest failed in start_login"):
        asyncio.run(hooks.start_login("i", "t", None))
    with pytest.raises(PluginError, match="plugin guest failed in start_login"):
        asyncio.run(hooks_with(start_login=lambda: 7).start_login("i", "t", None))


@pytest.mark.parametrize("answer", [None, 7, {"X-x.a": 7}, {"X-x.a": "b\0InitiatorName=c"}])
def test_a_step_that_answers_nonsense_is_charged_to_its_plugin(answer: object) -> None:
    hooks = hooks_with(start_login=lambda: SimpleNamespace(**EXCHANGE | {"step": lambda keys: answer}))
    exchange = asyncio.run(hooks.start_login("i", "t", None))
    assert exchange is not None
    with pytest.raises(PluginError, match=r"plugin guest failed in AuthExchange\.step"):
        asyncio.run(exchange.step({"X-x.a": "b"}))


def test_a_notification_that_sleeps_delays_nothing(forever: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOOKS_SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(limits, "NOTIFICATIONS_WAITING_MAX", 5)
    hooks = hooks_with(session_opened=lambda: forever.wait())
    session = SimpleNamespace(initiator="i", target="t", isid=bytes(6), tsih=1, address="a")
    for _ in range(20):
        hooks.session_opened(session)
    hooks.settle()


def test_a_wrapper_of_a_login_hook_is_declined() -> None:
    def wrap() -> Iterator[None]:
        yield

    hooks = Hooks([])
    assert not hooks.register(SimpleNamespace(start_login=hookimpl(wrapper=True)(wrap)), "guest")
    assert "can't be wrapped" in hooks.declined[0].reason


def test_a_compiled_plugin_without_an_abi_is_declined() -> None:
    hooks = Hooks([])
    assert not hooks.register(SimpleNamespace(__file__="/site/zoo.cpython-311-x86_64-linux-gnu.so"), "zoo")
    assert "does not say for which image ABI" in hooks.declined[0].reason


def test_a_plugin_that_prints_at_import_spoils_no_output(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chatty_plugin.py").write_text("print('hello')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with structlog.testing.capture_logs() as logged:
        assert Hooks([("chatty", "chatty_plugin")]).names == ["chatty"]
    assert capsys.readouterr().out == ""
    assert [(line["plugin"], line["printed"]) for line in logged] == [("chatty", "'hello\\n'")]
