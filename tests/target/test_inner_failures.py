"""What happens when the server itself fails at a request: the session ends, so that its machine opens a new one."""

from pathlib import Path
from typing import Any

import pytest
from goldherd.target.commands.slow_commands import Commands

from tests.target.initiator import ConnectionEndedError, log_in
from tests.target.inprocess import INITIATOR, TARGET, serving


def test_a_session_ends_when_a_request_of_it_can_not_be_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError("a fault in the server")

    with serving(tmp_path) as portal, log_in(portal, TARGET, INITIATOR) as session:
        session.make_ready()
        monkeypatch.setattr(Commands, "command", fail)
        with pytest.raises(ConnectionEndedError):
            session.command(b"\x5e\0\0\0\0\0\0\x00\x08\0", read=8)
        monkeypatch.undo()
        with log_in(portal, TARGET, INITIATOR) as again:
            again.make_ready()
            assert again.read(0, 1) == bytes(512)
