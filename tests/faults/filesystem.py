"""The file system of faultfs/: built, mounted, told what to do, and its power cut.

Its backing folder holds the tree before it is mounted, and the outcome after a cut or an end in good order. faultfs/
control.c lists the commands.
"""

import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.process import Process

SOURCES = Path(__file__).with_name("faultfs")
ANSWER_SECONDS_MAX = 60


def build(folder: Path) -> Path:
    """Compiles the file system into a folder; RuntimeError with the compiler's words when that fails."""
    program = folder / "faultfs"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=False)
    if flags.returncode:
        raise RuntimeError(f"The tests of faults need libfuse3-dev and pkg-config (scripts/setup test): {flags.stderr}")
    command: list[str | Path] = [
        "cc",
        "-O2",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        program,
        *sorted(SOURCES.glob("*.c")),
    ]
    built = subprocess.run([*command, *shlex.split(flags.stdout)], capture_output=True, text=True, check=False)
    if built.returncode:
        raise RuntimeError(f"faultfs can't be built:\n{built.stderr}")
    return program


def scratch() -> Path:
    """A new folder for backing folders, in memory where that can be: the disks of these tests are not real ones."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="faults-", dir=memory if memory.is_dir() else None))


class FaultFs:
    """One mounted file system; its power can be cut once, and mount() brings the outcome back under the same path.

    Args:
        program: what build() made.
        folder: an empty folder of its own.
        writeback: whether the kernel keeps written pages until they are synced.
        order: "strict" (a name is durable when its folder was synced) or "journal" (metadata in order, as ext4).
    """

    def __init__(self, program: Path, folder: Path, *, writeback: bool = False, order: str = "strict") -> None:
        self.program, self.writeback, self.order = program, writeback, order
        self.backing, self.path = folder / "backing", folder / "mounted"
        self._socket, self._log = folder / "control", folder / "faultfs.log"
        self._process: Process | None = None
        self._control: socket.socket | None = None
        self.backing.mkdir(exist_ok=True)
        self.path.mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unmount()

    def mount(self) -> None:
        """Mounts the backing folder; RuntimeError when this machine mounts no such file system."""
        self._socket.unlink(missing_ok=True)
        words: list[str | Path] = [self.program, self.backing, self.path, self._socket]
        self._process = Process([*words, *(["writeback"] if self.writeback else [])], self._log)
        try:
            self._process.read_line("ready")
        except RuntimeError as error:
            self.unmount()
            raise RuntimeError(
                f"No power can be cut here: the file system of the tests does not start. {error}"
            ) from None
        self._control = socket.socket(socket.AF_UNIX)
        self._control.settimeout(ANSWER_SECONDS_MAX)
        self._control.connect(str(self._socket))
        self.tell(f"order {self.order}")

    def tell(self, command: str) -> str:
        """Gives a command; the rest of its answer. RuntimeError when it is refused."""
        assert self._control is not None, "not mounted"
        self._control.sendall(f"{command}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            part = self._control.recv(65536)
            if not part:
                raise RuntimeError(f"faultfs ended while it was told '{command}'. {self._words()}")
            answer += part
        word, _, rest = answer.decode().strip().partition(" ")
        if word != "ok":
            raise RuntimeError(f"faultfs refused '{command}': {rest}")
        return rest

    def cut(self, seed: int, *, nothing: bool = False) -> str:
        """Cuts the power now, unless an armed cut came first; what was lost, for people.

        nothing: of what was not synced nothing survives.
        """
        return "cut before" if self.is_dead() else self.tell(f"cut {seed}{' nothing' if nothing else ''}")

    def is_dead(self) -> bool:
        """Whether the power is cut."""
        return self.tell("state").startswith("dead")

    def changing_requests(self) -> int:
        """How many requests that change something there were since the mount."""
        return int(self.tell("state").split()[2])

    def syncs(self) -> int:
        """How many times a file or folder was synced since the mount."""
        return int(self.tell("state").split()[3])

    def end(self) -> None:
        """Brings everything to the disk and unmounts: the backing folder holds what programs saw."""
        if self.writeback:
            subprocess.run(["sync", "-f", self.path], check=True)
        self.tell("end")
        self.unmount()

    def unmount(self) -> None:
        """Takes the mount away, whatever uses it; without end() or cut() the backing folder is as it was before."""
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is not None:
            process.stop(signal.SIGKILL)
        # A killed file system leaves a dead mount; one that ended by itself leaves none, and umount says so in vain.
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)
        shutil.rmtree(f"{self.backing}.store", ignore_errors=True)

    def _words(self) -> str:
        return self._process.words() if self._process else ""


def main() -> None:
    """`python -m tests.faults.filesystem FOLDER`: mounts it and takes commands from standard input, to try things."""
    program = build(scratch())
    with FaultFs(program, Path(sys.argv[1])) as filesystem:
        print(f"mounted at {filesystem.path}", flush=True)
        for line in sys.stdin:
            print(filesystem.tell(line.strip()), flush=True)


if __name__ == "__main__":
    main()
