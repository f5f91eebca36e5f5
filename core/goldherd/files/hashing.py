"""The content hash of large, mostly empty files: zeros cost nothing, and several threads share the rest.

    chunk        65,536 bytes of the content from a multiple of that on; the last one may be shorter
    hash         SHA-256 over the length of the content (8 bytes) and, for each chunk that is not all zeros, in order,
                 its number (8 bytes, the first is 0) and its SHA-256 (32 bytes); integers are big endian

Zeros that were written and zeros that were never written (holes) give one hash, so that it belongs to the content and
not to a file system. docs/formats/content-hash.md tells why this is as strong as SHA-256 over all bytes.
"""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from goldherd.files.copying import data_ranges, has_few_holes, length_of
from goldherd.limits import HASH_CHUNK_BYTES, HASH_SPANS_WAITING, HASH_THREADS, READ_CHUNK_BYTES
from goldherd.model.progress import Progress

_ZEROS: Final = bytes(HASH_CHUNK_BYTES)


class Hashes(NamedTuple):
    """What identifies a content, in hexadecimal."""

    chunked: str
    """The content hash of this module."""
    plain: str | None
    """SHA-256 over all bytes, as sha256sum(1) prints it; None when it was left out."""


class _Span(NamedTuple):
    """Some neighbouring chunks that were read."""

    offset: int
    data: bytes
    digests: list[bytes | None]
    """Of each chunk; None: all zeros."""


def hash_file(
    path: Path,
    progress: Progress,
    prefix_bytes: int | None = None,
    *,
    plain: bool | None = None,
    from_disk: bool = False,
) -> tuple[Hashes, Hashes]:
    """The hashes of a file and of its first prefix_bytes (the whole file when None), in one pass.

    `plain` says whether SHA-256 over all bytes is worked out too, which takes time for every hole; None: when the
    file has no more holes than data, or few. `from_disk` reads what lies on the disk, not what the page cache holds of
    it, and leaves nothing of it in the page cache.

    Raises OSError when the file can't be read or becomes shorter meanwhile.
    """
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        length = length_of(descriptor)
        border = length if prefix_bytes is None else prefix_bytes
        if plain is None:
            plain = has_few_holes(descriptor, length)
        if from_disk:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        whole, prefix = _Chunked(length), _Chunked(border)
        stream = _Plain(length, border) if plain else None
        for span in _spans(descriptor, length):
            whole.add(span)
            prefix.add(span)
            if stream is not None:
                stream.add(span.offset, span.data)
            if from_disk:
                os.posix_fadvise(descriptor, span.offset, len(span.data), os.POSIX_FADV_DONTNEED)
            progress("hash", span.offset + len(span.data), length)
        if from_disk:  # what was read ahead, and pages that two steps share
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        progress("hash", length, length)
    plains = (None, None) if stream is None else stream.finish()
    return Hashes(whole.finish(), plains[0]), Hashes(prefix.finish(), plains[1])


class _Chunked:
    """The content hash of the first `length` bytes, fed with spans in order."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._digest = hashlib.sha256(length.to_bytes(8))

    def add(self, span: _Span) -> None:
        for index, digest in enumerate(span.digests):
            start = span.offset + index * HASH_CHUNK_BYTES
            if start >= self._length:
                return
            inside = self._length - start
            at = index * HASH_CHUNK_BYTES
            if inside < min(HASH_CHUNK_BYTES, len(span.data) - at):  # the border lies inside this chunk
                digest = _digest_of(span.data, at, inside)
            if digest is not None:
                self._digest.update((start // HASH_CHUNK_BYTES).to_bytes(8) + digest)

    def finish(self) -> str:
        return self._digest.hexdigest()


class _Plain:
    """SHA-256 over all bytes of the first `length`, and over those before `border`, fed with spans in order."""

    def __init__(self, length: int, border: int) -> None:
        self._length = length
        self._border = border
        self._digest = hashlib.sha256()
        self._at = 0
        self._before_border = ""

    def add(self, offset: int, data: bytes) -> None:
        self._fill(offset)
        self._feed(memoryview(data))

    def _fill(self, offset: int) -> None:
        """The zeros up to an offset."""
        while self._at < offset:
            self._feed(memoryview(_ZEROS)[: offset - self._at])

    def _feed(self, data: memoryview) -> None:
        if self._at < self._border <= self._at + len(data):
            inside = self._border - self._at
            self._digest.update(data[:inside])
            self._before_border = self._digest.hexdigest()
            self._digest.update(data[inside:])
        else:
            self._digest.update(data)
        self._at += len(data)

    def finish(self) -> tuple[str, str]:
        self._fill(self._length)
        return self._digest.hexdigest(), self._before_border or hashlib.sha256().hexdigest()


def _spans(descriptor: int, length: int) -> Iterator[_Span]:
    """What is not a hole, in order; several threads read and hash ahead."""
    waiting: deque[Future[_Span]] = deque()
    with ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hash") as pool:
        try:
            for offset, count in _pieces(descriptor, length):
                waiting.append(pool.submit(_read, descriptor, offset, count))
                if len(waiting) == HASH_SPANS_WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _pieces(descriptor: int, length: int) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of whole chunks that hold all data, each chunk once."""
    done = 0
    for start, end in data_ranges(descriptor, length):
        offset = max(done, start - start % HASH_CHUNK_BYTES)
        done = max(done, min(length, end + -end % HASH_CHUNK_BYTES))
        while offset < done:
            count = min(READ_CHUNK_BYTES, done - offset)
            yield offset, count
            offset += count


def _read(descriptor: int, offset: int, count: int) -> _Span:
    data = os.pread(descriptor, count, offset)
    while len(data) < count:
        more = os.pread(descriptor, count - len(data), offset + len(data))
        if not more:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        data += more
    starts = range(0, count, HASH_CHUNK_BYTES)
    return _Span(offset, data, [_digest_of(data, at, min(HASH_CHUNK_BYTES, count - at)) for at in starts])


def _digest_of(data: bytes, at: int, count: int) -> bytes | None:
    """SHA-256 of a chunk; None when it is all zeros."""
    if data.startswith(_ZEROS[:count], at):
        return None
    return hashlib.sha256(memoryview(data)[at : at + count]).digest()
