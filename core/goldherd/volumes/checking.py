"""Reads the file of a node's disk back from where it lies, every byte that was ever written to it.

The page cache may still hold what the disk below has lost, so it is emptied of the file first. The format checks its
own structures (Format.check). Nothing is changed.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from goldherd.files.copying import data_ranges, length_of
from goldherd.files.failed import find_mark, remove_mark, sync_or_mark
from goldherd.files.locks import open_locked, refusal
from goldherd.files.space import allocated_bytes
from goldherd.limits import CHECK_FAULTS_MAX, READ_CHUNK_BYTES
from goldherd.model.images import Formats
from goldherd.model.progress import Progress


class Checked(NamedTuple):
    """What was found in one file."""

    failure: str | None
    """How the disk has failed, as its mark says; None without a mark."""
    faults: tuple[str, ...]
    """What is wrong with it now, a sentence each; empty when all of it could be read and fits together."""
    read_bytes: int
    cleared: bool
    """Whether its mark was taken away."""


def failure_of(overlay: Path) -> str | None:
    """How the disk in a file has failed, in words that follow "it has failed: "; None for a sound or absent one."""
    try:
        failure = find_mark(overlay)
    except OSError as error:
        return f"its file can't be asked ({error.strerror})"
    return None if failure is None else str(failure)


def space_of(overlay: Path) -> int | None:
    """The space that the disk in a file takes; None when it is not there or can't be asked."""
    try:
        return allocated_bytes(overlay)
    except OSError:
        return None


def check_file(formats: Formats, path: Path, *, clear: bool, progress: Progress) -> Checked:
    """Checks the disk in a file that no machine has open, nor can until this returns.

    Args:
        formats: has the file's format, whose name is the file's ending.
        path: the file.
        clear: take the mark of a failed disk away if nothing is wrong now.
        progress: told of the bytes.

    Raises ImageError: it is missing or in use.
    """
    descriptor = open_locked(path, "r")
    try:
        failure = failure_of(path)
        faults = list(formats.check(f"{path.suffix[1:]}:{path}"))
        reading = _Reading(descriptor, path)
        faults += reading.faults(progress)
        cleared = clear and failure is not None and not faults
        if cleared:
            remove_mark(path)
        return Checked(failure, tuple(faults), reading.read_bytes, cleared)
    except OSError as error:
        raise refusal(error, path, "check") from error
    finally:
        os.close(descriptor)


class _Reading:
    """One way through an open file."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        self.read_bytes = 0

    def faults(self, progress: Progress) -> list[str]:
        """What can't be read, at most CHECK_FAULTS_MAX sentences."""
        found: list[str] = []
        try:
            sync_or_mark(self._descriptor)  # what is not on the disk would stay in the page cache below
        except OSError as error:
            found.append(f"{self._path} can't be brought to its disk: {error.strerror}.")
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for begin, end, reason in self._unreadable(progress):
            if len(found) >= CHECK_FAULTS_MAX:
                found[-1] = f"More of {self._path} can't be read."
                break
            found.append(f"Bytes {begin} to {end} of {self._path} can't be read: {reason}.")
        return found

    def _unreadable(self, progress: Progress) -> Iterator[tuple[int, int, str]]:
        """(first byte, byte behind the last, reason) of each run that can't be read, in steps of READ_CHUNK_BYTES."""
        length = length_of(self._descriptor)
        buffer = memoryview(bytearray(READ_CHUNK_BYTES))
        bad: tuple[int, int, str] | None = None
        for start, end in data_ranges(self._descriptor, length):
            offset = start
            while offset < end:
                progress("check", offset, length)
                part = min(READ_CHUNK_BYTES, end - offset)
                reason = self._read(buffer[:part], offset)
                if bad is not None and (reason != bad[2] or bad[1] != offset):
                    yield bad
                    bad = None
                if reason is not None:
                    bad = (offset if bad is None else bad[0], offset + part, reason)
                offset += part
        if bad is not None:
            yield bad

    def _read(self, buffer: memoryview, offset: int) -> str | None:
        """Fills the buffer from offset on; why it can't, or None."""
        while buffer:
            try:
                count = os.preadv(self._descriptor, [buffer], offset)
            except OSError as error:
                return error.strerror or str(error)
            if count == 0:
                return "the file ends before"
            buffer, offset = buffer[count:], offset + count
            self.read_bytes += count
        return None
