"""Hashes a file in a process of its own that gives way to everything else, for the verification of golden files.

A process and not a thread: it shares no lock of Python with the daemon, a volume that hangs holds nothing of the
daemon, and it can be ended at any time. The process runs under SCHED_IDLE, from which Linux takes the idle class of I/O
as well (ioprio_set(2), where no class was set), reads no faster than it was told, and leaves nothing in the page cache.
When the daemon ends, however that is, its process ends too: it reads end-of-file on its standard input.

    python -m goldherd.volumes.reading_apart FILE PLAIN BYTES_PER_SECOND

prints a JSON object per line: {"done", "total"} as it goes on, in the end {"chunked", "plain"} or {"errno", "reason"}.
"""

import contextlib
import errno
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from goldherd.errors import GoldherdError
from goldherd.files.hashing import Hashes, hash_file
from goldherd.limits import READ_CHUNK_BYTES, VERIFY_BURST_SECONDS, VERIFY_STALL_SECONDS, VERIFY_TELL_SECONDS
from goldherd.model.progress import Progress


class StoppedError(GoldherdError):
    """The reading was stopped because the daemon ends."""


class ReadingApart:
    """Hashes one file at a time in another process (sealing.Hasher).

    Args:
        rate: bytes per second at most; 0: as fast as the disk lets an idle reader.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __call__(self, path: Path, progress: Progress, plain: bool) -> Hashes:
        """The hashes of a file; OSError when it can't be read, StoppedError after stop()."""
        with self._lock:
            if self._stopped:
                raise StoppedError("The verification was stopped.")
            words = (sys.executable, "-m", __name__, str(path), str(int(plain)), str(self._rate))
            child = self._child = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        try:
            return self._listen(child, progress)
        finally:
            with self._lock:
                self._child = None
            child.kill()  # one that waits for a hung volume ends when the volume answers
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(1)

    def stop(self) -> None:
        """Ends the reading under way, and begins no other."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()

    def _listen(self, child: "subprocess.Popen[bytes]", progress: Progress) -> Hashes:
        assert child.stdout is not None
        told, silent = b"", 0.0
        while True:
            if self._stopped:
                raise StoppedError("The verification was stopped.")
            if not select.select([child.stdout], [], [], VERIFY_TELL_SECONDS)[0]:
                silent += VERIFY_TELL_SECONDS
                if silent >= VERIFY_STALL_SECONDS:
                    raise OSError(errno.ETIMEDOUT, f"nothing could be read of it for {VERIFY_STALL_SECONDS} seconds")
                continue
            silent = 0.0
            part = os.read(child.stdout.fileno(), select.PIPE_BUF)
            if not part and not self._stopped:
                raise OSError(errno.EIO, "the process that reads it ended early")
            *lines, told = (told + part).split(b"\n")
            for line in lines:
                message: dict[str, Any] = json.loads(line)
                if "done" in message:
                    progress("hash", message["done"], message["total"])
                elif "errno" in message:
                    raise OSError(message["errno"], message["reason"])
                else:
                    return Hashes(message["chunked"], message["plain"])


class _Pace:
    """Tells the progress now and then, and sleeps where the reading would be faster than its rate."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._due = 0.0
        self._told = 0.0
        self._before = 0

    def __call__(self, _stage: str, done: int, total: int) -> None:
        read_bytes = min(done - self._before, READ_CHUNK_BYTES)  # a longer step went over a hole
        self._before = done
        now = time.monotonic()
        if now - self._told >= VERIFY_TELL_SECONDS:
            self._told = now
            _tell(done=done, total=total)
        if self._rate:
            self._due = max(self._due, now - VERIFY_BURST_SECONDS) + read_bytes / self._rate
            time.sleep(max(0.0, self._due - now))


def _tell(**message: object) -> None:
    print(json.dumps(message), flush=True)


def _give_way() -> None:
    """Lets everything else go first: SCHED_IDLE, or a nice value where that is not allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        os.nice(19)


def _end_with_the_parent() -> None:
    while os.read(0, 1):
        continue
    os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """The process itself."""
    path, plain, rate = arguments
    _give_way()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        hashes, _ = hash_file(Path(path), _Pace(int(rate)), plain=plain == "1", from_disk=True)
    except OSError as error:
        _tell(errno=error.errno or errno.EIO, reason=error.strerror or str(error))
    else:
        _tell(chunked=hashes.chunked, plain=hashes.plain)


if __name__ == "__main__":
    main(sys.argv[1:])
