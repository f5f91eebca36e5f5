"""The control socket: who may ask the daemon, and one daemon for each data folder."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from goldherd.api.control import Control
from goldherd.errors import SettingsError
from goldherd.model.live import NothingLive

from tests.support.users import run_as

GROUP: Final = 12345
"""A group, and a user, that nothing else has."""
ASK: Final = (
    "import socket, sys\n"
    "with socket.socket(socket.AF_UNIX) as connection:\n"
    "    connection.settimeout(30)\n"
    "    connection.connect(sys.argv[1])\n"
    '    connection.sendall(b\'{"command": "status"}\\n\')\n'
    "    print(connection.makefile().readline())\n"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder of the group, which every user may enter."""
    with tempfile.TemporaryDirectory(prefix="goldherd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.chown(folder, -1, GROUP)
        yield folder


class Told(NothingLive):
    """A server that says one thing."""

    def status(self) -> dict[str, Any] | None:
        return {"pid": 7}


async def asked(folder: Path, group: int) -> subprocess.CompletedProcess[str]:
    """What a process of another user in that group gets from a daemon that says `{"pid": 7}`."""
    with Control(folder / "control.sock") as control:
        control.live = Told()
        await control.open()
        command = [sys.executable, "-c", ASK, str(folder / "control.sock")]

        return await asyncio.to_thread(run_as, GROUP, group, *command)


def test_group_of_the_data_folder_may_ask(folder: Path) -> None:
    ended = asyncio.run(asked(folder, GROUP))
    assert json.loads(ended.stdout) == {"pid": 7}


def test_other_users_may_not_ask(folder: Path) -> None:
    ended = asyncio.run(asked(folder, GROUP + 1))
    assert ended.stdout == "" and "PermissionError" in ended.stderr


def test_socket_belongs_to_the_group_of_the_data_folder(folder: Path) -> None:
    async def look() -> os.stat_result:
        with Control(folder / "control.sock") as control:
            await control.open()
            return (folder / "control.sock").stat()

    found = asyncio.run(look())
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o660 and found.st_gid == GROUP
    assert not (folder / "control.sock").exists()


def test_second_daemon_of_a_folder_is_refused(folder: Path) -> None:
    with Control(folder / "control.sock"), pytest.raises(SettingsError, match="Another daemon"):
        Control(folder / "control.sock").__enter__()


def test_socket_that_can_not_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()

    async def open_it() -> None:
        with Control(deep / "control.sock") as control:
            await control.open()

    with pytest.raises(SettingsError, match="shorter path"):
        asyncio.run(open_it())


def test_reply_of_a_socket_ends_with_its_line(folder: Path) -> None:
    async def ask() -> bytes:
        with Control(folder / "control.sock") as control:
            control.live = Told()
            await control.open()
            reader, writer = await asyncio.open_unix_connection(str(folder / "control.sock"))
            writer.write(b'{"command": "status"}\n')
            reply = await reader.read()
            writer.close()
            return reply

    assert asyncio.run(ask()) == b'{"pid": 7}\n'


def test_client_that_goes_at_once_harms_nobody(folder: Path) -> None:
    async def ask() -> bytes:
        with Control(folder / "control.sock") as control:
            control.live = Told()
            await control.open()
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as gone:
                    gone.connect(str(folder / "control.sock"))
            reader, writer = await asyncio.open_unix_connection(str(folder / "control.sock"))
            writer.write(b'{"command": "status"}\n')
            reply = await reader.read()
            writer.close()
            return reply

    assert asyncio.run(ask()) == b'{"pid": 7}\n'
