"""A machine with systemd in charge, for units under test: its own processes, mounts and network, on this kernel.

systemd itself reads the unit and applies what it says. What needs a part of the kernel that this system does not have
(device control groups, memory limits) is not applied, as on a real machine with the same kernel: see Machine.console.
"""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).parent
START_SECONDS_MAX = 60
NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")

# What a service with default dependencies asks for, and what stands for the whole system here.
TARGETS = ("machine", "sysinit", "basic", "shutdown", "umount", "network-online", "multi-user")
TARGET = "[Unit]\nDescription=Nothing but a name\nDefaultDependencies=no\n"


class Machine:
    """One such machine; it runs inside the `with` block.

    Args:
        folder: an empty folder for the machine's own files.
        units: names and texts of the units under test.
        shared: folders of this system to where the machine sees them, read-only.
    """

    def __init__(self, folder: Path, units: Mapping[str, str], shared: Mapping[Path, Path]) -> None:
        self._folder = folder
        self._units = {f"{name}.target": TARGET for name in TARGETS} | dict(units)
        self._shared = shared
        self._group = _unified_hierarchy() / f"goldherd-test-{os.getpid()}-{folder.name}"
        self._init: int | None = None
        self._printed = bytearray()

    def __enter__(self) -> Self:
        (self._folder / "units").mkdir()
        for name, text in self._units.items():
            (self._folder / "units" / name).write_text(text)
        self._group.mkdir()
        # This end of the console stays open too: a terminal that no process has open counts as hung up.
        self._terminal, self._console = os.openpty()
        script = [HERE / "machine.sh", self._folder, os.ttyname(self._console)]
        script += [f"{source}={target}" for source, target in self._shared.items()]
        # The control group comes first, so that it is the root of the machine's own hierarchy.
        enter = f'echo $$ >"{self._group}/cgroup.procs"; exec "$@"'
        unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "bash", *script]
        self._unshare = subprocess.Popen(["sh", "-c", enter, "sh", *map(str, unshare)], stdin=subprocess.DEVNULL)
        self._reader = threading.Thread(target=self._read_console)
        self._reader.start()
        try:
            self._wait_until_started()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def console(self) -> str:
        """What systemd and its services printed."""
        return self._printed.decode(errors="replace")

    def run(self, *command: str | Path, only: tuple[str, ...] = NAMESPACES) -> subprocess.CompletedProcess[str]:
        """Runs a command as the machine's root and waits for its end; `only`: in these of its namespaces."""
        enter = ["nsenter", "--target", str(self._init), *only]
        return subprocess.run([*enter, *map(str, command)], capture_output=True, text=True, timeout=120, check=False)

    def do(self, *command: str | Path) -> str:
        """Runs a command that must succeed; what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.console[-4000:]}"
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        """One property of a unit, as `systemctl show` prints it."""
        return self.do("systemctl", "show", "--value", "--property", name, unit).strip()

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Waits until something is so; RuntimeError with the console's last words when it does not become so."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not happened():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the machine did not get that far: {self.console[-4000:]}")
            time.sleep(0.02)

    def _wait_until_started(self) -> None:
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self._unshare.poll() is None:
            if "Startup finished" in self.console:
                self._init = int(children.read_text().split()[0])
                return
            time.sleep(0.02)
        raise RuntimeError(f"systemd did not start: {self.console[-4000:]}")

    def _read_console(self) -> None:
        while self._unshare.poll() is None:
            if select.select([self._terminal], [], [], 0.1)[0]:
                self._printed += os.read(self._terminal, 65536)

    def _end(self) -> None:
        # unshare has asked the kernel to kill the machine's init with it, and with that every process of the machine.
        self._unshare.send_signal(signal.SIGKILL)
        self._unshare.wait()
        self._reader.join()
        os.close(self._terminal)
        os.close(self._console)
        for group in sorted((path for path in self._group.rglob("*") if path.is_dir()), reverse=True):
            _remove_group(group)
        _remove_group(self._group)


def _unified_hierarchy() -> Path:
    """Where the version 2 hierarchy of control groups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise RuntimeError("this system has no version 2 control groups, which systemd needs")


def _remove_group(group: Path) -> None:
    """Removes a control group as soon as the last process in it has ended.

    cgroup.procs leaves out a process that is ending, with which the group can't be removed yet; cgroup.events does not.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while "populated 1" in (group / "cgroup.events").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    group.rmdir()
