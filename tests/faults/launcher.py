"""Starts goldherd's commands as processes of their own, without paying for the imports each time.

One process imports everything once and forks for each command. What it forks runs the command line's main() as the
installed program does. `python -m tests.faults.launcher FD` is that process; Launcher is its face for tests.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS_MAX = 60
MUTANT = "FAULTS_MUTANT"
"""The environment variable MODULE=FILE: where the launcher finds one compiled module instead of its own place."""


class Launched:
    """A running command: its standard output is read here, its standard error goes to a file."""

    def __init__(self, pid: int, output: int, log: Path) -> None:
        self.pid, self.log = pid, log
        self._output = output
        self._unread = b""
        self._ended = os.pidfd_open(pid)

    def read_line(self, start: str) -> str:
        """The next line that begins so; RuntimeError with the command's own words when it ends before."""
        while True:
            while b"\n" in self._unread:
                line, self._unread = self._unread.split(b"\n", 1)
                if line.decode().startswith(start):
                    return line.decode()
            if not self._read(START_SECONDS_MAX):
                raise RuntimeError(f"it printed no line '{start}': {self.log.read_text(errors='replace')[-3000:]}")

    def finish(self, seconds_max: float = START_SECONDS_MAX) -> tuple[int, str]:
        """Waits for its end: the exit code and what it printed; code -9 when it was killed, or took too long."""
        deadline = time.monotonic() + seconds_max
        while self._read(max(0.0, deadline - time.monotonic())):
            pass
        self.kill()
        output, _, code = self._unread.decode().rpartition("\nexit ")
        return (int(code), output) if code.strip().isdigit() else (-9, self._unread.decode())

    def _read(self, seconds_max: float) -> bool:
        if not select.select([self._output], [], [], seconds_max)[0]:
            return False
        data = os.read(self._output, 65536)
        self._unread += data
        return bool(data)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        if self._ended < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._ended, signal.SIGKILL)
        select.select([self._ended], [], [])
        os.close(self._ended)
        os.close(self._output)
        self._ended = -1


class Launcher:
    """The process that forks; ends with the `with` block."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.memory = Path(tempfile.mkdtemp(prefix="faults-memory-", dir="/dev/shm"))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.launcher", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={
                    **os.environ,
                    "OPENBLAS_NUM_THREADS": "1",
                    "PYTHONUNBUFFERED": "1",
                    "RUNTIME_DIRECTORY": str(self.memory),
                    **environment,
                },
            )
        self._socket = ours

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process; commands that still run are not touched."""
        self._socket.close()
        self._process.wait()
        shutil.rmtree(self.memory)

    def lose_memory(self) -> None:
        """The machine starts anew: what processes of before had in memory is gone. Call it while no command runs."""
        shutil.rmtree(self.memory)
        self.memory.mkdir(mode=0o700)

    def start(self, words: list[str], log: Path, environment: Mapping[str, str] | None = None) -> Launched:
        """`goldherd WORDS...`, with some more variables in its environment."""
        reading, writing = os.pipe()
        with log.open("ab") as errors:
            socket.send_fds(
                self._socket, [json.dumps([words, dict(environment or {})]).encode()], [writing, errors.fileno()]
            )
        os.close(writing)
        answer = self._socket.recv(64)
        if not answer:
            raise RuntimeError("the launcher of the tests has ended")
        return Launched(int(answer), reading, log)


def serve(requests: socket.socket) -> None:
    """Forks a command for each request until the tests have gone."""
    _import_everything()
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"imports have started {threads - 1} threads, which would be missing in a fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        words, descriptors, _, _ = socket.recv_fds(requests, 65536, 2)
        if not words:
            return
        child = os.fork()
        if child == 0:
            _become(*json.loads(words), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(child).encode())


class _Mutant(importlib.abc.MetaPathFinder):
    """Finds one compiled module in another file (mutants.py)."""

    def __init__(self, name: str, file: str) -> None:
        self._name, self._file = name, file

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._file)


def _import_everything() -> None:
    mutant = os.environ.get(MUTANT)
    if mutant:
        sys.meta_path.insert(0, _Mutant(*mutant.split("=", 1)))
    modules = ("cli.commands", "cli.logs", "services.directory", "services.operations", "target.server", "api.control")
    for name in modules:
        importlib.import_module(f"goldherd.{name}")
    hooks = importlib.import_module("goldherd.hooks")
    assert hooks.Hooks().formats.find("vhd") is not None


def _become(words: list[str], environment: dict[str, str], output: int, errors: int) -> None:
    """Runs one command in this process, which ends with it."""
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.environ.update(environment)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.closerange(3, 64)
        from goldherd.cli.main import main

        sys.argv = ["goldherd", *words]
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        os.write(1, f"\nexit {code}".encode())
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
