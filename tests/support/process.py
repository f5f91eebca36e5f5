"""Programs beside a test: started apart from the shell, waited for by what they print, surely ended."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

END_SECONDS_MAX = 20


class Process:
    """One program in a session of its own (setsid), its standard error kept in a file.

    The session keeps the scheduler's autogroup from charging it to the test's own share, and lets the whole
    family be ended at once.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        cpu: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        prefix = ["taskset", "-c", str(cpu)] if cpu is not None else []
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                prefix + self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            )
        self._unread = b""

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def read_line(self, start: str, seconds_max: float = 60) -> str:
        """The next line of standard output that begins with `start`; lines before it are passed over.

        Raises RuntimeError with the program's own words when it ends, or prints no such line in time.
        """
        assert self._child.stdout is not None
        deadline = time.monotonic() + seconds_max
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while True:
                while b"\n" in self._unread:
                    line, self._unread = self._unread.split(b"\n", 1)
                    if line.decode().startswith(start):
                        return line.decode()
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RuntimeError(f"{self.command[0]} printed no line {start!r}. {self.words()}")
                data = os.read(self._child.stdout.fileno(), 65536)
                if not data:
                    raise RuntimeError(f"{self.command[0]} ended before it printed {start!r}. {self.words()}")
                self._unread += data

    def words(self) -> str:
        """What it wrote on standard error so far."""
        return self.log.read_text(errors="replace")[-4000:]

    def send(self, sign: signal.Signals) -> None:
        """Sends a signal and does not wait."""
        self._child.send_signal(sign)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Asks the program to end, makes it end if it doesn't, and gives its exit status."""
        if self.running:
            self._child.send_signal(sign)
            try:
                self._child.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._child.pid, signal.SIGKILL)
        status = self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        return status


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now, for programs that can't choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: Process, seconds_max: float = 30) -> None:
    """Returns when 127.0.0.1:port accepts connections; RuntimeError if the process ends first."""
    deadline = time.monotonic() + seconds_max
    while process.running and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.command[0]} does not listen at port {port}. {process.words()}")
