"""What a login asks of the directory, and what happens when a target changes between the question and the session."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from goldherd.app import OneTarget
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.targets import LunConfig, TargetConfig

from tests.target.initiator import ConnectionEndedError, LoginRefusedError, Session, loader_isid, log_in
from tests.target.inprocess import INITIATOR, TARGET, one_disk, serving

REMOVED, SERVICE_UNAVAILABLE = 0x0204, 0x0301


class Asked(OneTarget):
    """A directory that notes its questions.

    Args:
        target: what it knows.
        later: what it answers to the second and later questions, by the number of the question.
    """

    def __init__(self, target: TargetConfig, later: Callable[[int], TargetConfig | None] | None = None) -> None:
        super().__init__(target)
        self.questions: list[str] = []
        self._later = later

    async def find(self, target: str) -> TargetConfig | None:
        self.questions.append(target)
        await asyncio.sleep(0)
        if self._later is not None and len(self.questions) > 1:
            return self._later(len(self.questions))
        return await super().find(target)


def test_a_login_asks_once_and_again_only_when_it_has_opened_the_disks(tmp_path: Path) -> None:
    directory = Asked(one_disk(tmp_path))
    with serving(tmp_path, directory=directory) as portal:
        with log_in(portal, TARGET, INITIATOR) as first:
            first.make_ready().inquire()
            assert directory.questions == [TARGET] * 2
            with log_in(portal, TARGET, INITIATOR, isid=loader_isid(1)) as second:
                second.make_ready().inquire()
        assert directory.questions == [TARGET] * 3


def child_over(folder: Path) -> TargetConfig:
    """A target whose overlay is not made yet."""
    golden = folder / "golden.vhd"
    hooks = Hooks(BUILTIN.items())
    if not golden.exists():
        hooks.formats.create(f"vhd:{golden}", 1 << 20)
    lun = LunConfig(0, str(folder / "overlay.vhd"), format="vhd", parent=golden, parent_format="vhd", create=True)
    return TargetConfig(TARGET, (lun,))


def throw_away(target: TargetConfig) -> None:
    """What app.remove_disks does."""
    for lun in target.luns:
        lun.path.unlink()


def test_a_target_that_is_gone_when_its_disks_are_open_leaves_no_overlay(tmp_path: Path) -> None:
    target = child_over(tmp_path)
    directory = Asked(target, lambda _: None)
    with serving(tmp_path, directory=directory, rest={"reset": throw_away}) as portal:
        with pytest.raises(LoginRefusedError) as refusal:
            log_in(portal, TARGET, INITIATOR)
        assert refusal.value.status == REMOVED
        assert not target.luns[0].path.exists()


def test_an_overlay_that_was_there_before_stays(tmp_path: Path) -> None:
    """Somebody else may have given the name to a new node, whose data it holds."""
    target = child_over(tmp_path)
    with serving(tmp_path, directory=OneTarget(target)) as portal, log_in(portal, TARGET, INITIATOR) as session:
        session.make_ready().inquire()
    directory = Asked(target, lambda _: None)
    with (
        serving(tmp_path, directory=directory, rest={"reset": throw_away}) as portal,
        pytest.raises(LoginRefusedError),
    ):
        log_in(portal, TARGET, INITIATOR)
    assert target.luns[0].path.exists()


def test_a_target_that_gets_another_disk_meanwhile_is_served_with_that_one(tmp_path: Path) -> None:
    target = one_disk(tmp_path)
    other = tmp_path / "other.raw"
    other.write_bytes(b"B" * (1 << 20))
    changed = replace(target, luns=(LunConfig(0, str(other)),))
    with (
        serving(tmp_path, directory=Asked(target, lambda _: changed)) as portal,
        log_in(portal, TARGET, INITIATOR) as session,
    ):
        assert session.make_ready().read(0, 1) == b"B" * 512


def test_a_target_that_changes_without_end_is_refused_for_now(tmp_path: Path) -> None:
    target = one_disk(tmp_path)

    def another(number: int) -> TargetConfig:
        return replace(target, luns=(replace(target.luns[0], identity=f"disk {number}"),))

    with serving(tmp_path, directory=Asked(target, another)) as portal:
        with pytest.raises(LoginRefusedError) as refusal:
            log_in(portal, TARGET, INITIATOR)
        assert refusal.value.status == SERVICE_UNAVAILABLE


class Together(OneTarget):
    """A directory that answers the first two questions at once."""

    asked = 0
    both = asyncio.Event()

    async def find(self, target: str) -> TargetConfig | None:
        self.asked += 1
        if self.asked == 2:
            self.both.set()
        await self.both.wait()
        return await super().find(target)


def is_alive(session: Session) -> bool:
    """Whether a session answers."""
    try:
        session.make_ready().inquire()
    except (ConnectionEndedError, OSError):
        return False
    return True


def test_of_two_logins_of_one_port_at_once_one_stays(tmp_path: Path) -> None:
    """Both have met no session; the one that is admitted later replaces the other (RFC 7143 6.3.5)."""
    with ThreadPoolExecutor(2) as pool, serving(tmp_path, directory=Together(one_disk(tmp_path))) as portal:
        logins = [pool.submit(log_in, portal, TARGET, INITIATOR) for _ in range(2)]
        sessions = [login.result(30) for login in logins]
        assert sorted(map(is_alive, sessions)) == [False, True]
        for session in sessions:
            session.socket.close()
