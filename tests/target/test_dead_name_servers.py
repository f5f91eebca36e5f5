"""Name servers that never answer, for more names than there are threads: other logins and discovery go on."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from goldherd import limits
from goldherd.app import OneTarget
from goldherd.model.access import Peer, Rule
from goldherd.model.targets import TargetConfig
from goldherd.target.login.resolver import Resolver

from tests.target.initiator import LoginRefusedError, log_in
from tests.target.inprocess import INITIATOR, TARGET, one_disk, serving

NAMED = f"{TARGET}.named"
HOSTS = [f"host{number}.example.org" for number in range(20)]


class TwoTargets(OneTarget):
    """A target for anybody, and one for hosts whose name servers are dead."""

    def __init__(self, target: TargetConfig) -> None:
        super().__init__(target)
        self._named = replace(target, name=NAMED, access=frozenset(Rule.parse(f"dns:{host}") for host in HOSTS))

    async def find(self, target: str) -> TargetConfig | None:
        return self._named if target == NAMED else await super().find(target)

    async def visible_to(self, peer: Peer) -> Sequence[TargetConfig]:
        return [*await super().visible_to(peer), *([self._named] if self._named.admits(peer) else [])]


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """Released once by each thread that waits for a dead name server, until the test ends."""
    monkeypatch.setattr(limits, "DNS_THREADS", 2)
    monkeypatch.setattr(limits, "DNS_SECONDS", 0.5)
    asked, ended = threading.Semaphore(0), threading.Event()
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        if host in HOSTS:
            asked.release()
            ended.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return ask(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    ended.set()


def test_logins_and_discovery_go_on_while_all_threads_of_the_resolver_hang(
    stuck: threading.Semaphore, tmp_path: Path
) -> None:
    with serving(tmp_path, directory=TwoTargets(one_disk(tmp_path))) as portal, ThreadPoolExecutor(8) as waiting:
        refused = [waiting.submit(log_in, portal, NAMED, f"{INITIATOR}{number}") for number in range(8)]
        for _ in range(limits.DNS_THREADS):
            assert stuck.acquire(timeout=30)
        with log_in(portal, TARGET, INITIATOR) as session:
            session.make_ready().inquire()
        with log_in(portal, None, INITIATOR) as session:
            assert [value for key, value in session.text("SendTargets=All\0") if key == "TargetName"] == [TARGET]
        for login in refused:
            with pytest.raises(LoginRefusedError):
                login.result()


def test_the_default_threads_are_free_while_the_resolver_hangs(stuck: threading.Semaphore) -> None:
    async def ask() -> str:
        resolver = Resolver(lambda: 1.0)
        asking = asyncio.ensure_future(resolver.resolve(HOSTS))
        answer = await asyncio.get_running_loop().run_in_executor(None, lambda: "free")
        await asking
        return answer

    assert asyncio.run(ask()) == "free"
    assert stuck.acquire(timeout=30) and stuck.acquire(timeout=30)
    assert not stuck.acquire(blocking=False)
