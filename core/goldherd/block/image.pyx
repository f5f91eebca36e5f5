"""The base class of everything that holds sectors: a Python door and a C door, each the default of the other.

A plain Python backend derives from Image and overrides read_into (and write, flush, discard if it can).
A compiled backend derives from NativeImage and overrides the `cdef` methods of image.pxd.
Knows no file, no format and no protocol. Start reading at image.pxd.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EDQUOT, EINTR, EINVAL, EIO, ENOSPC, ENOSYS, EROFS, ESPIPE, errno as last_errno
from libc.string cimport memcpy

from goldherd.native.linux cimport (SYNC_FILE_RANGE_WAIT_BEFORE, close, fdatasync, pthread_mutex_destroy,
                                    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, store32,
                                    sync_file_range)

import os
import sys

from goldherd.errors import ImageError, StorageFullError, raise_for_errno
from goldherd.files.failed import Failure, failure_of, find_mark, mark    # Failure is for those that may not import files
from goldherd import limits

ABI = IMAGE_ABI


cdef int fill(object image, uint64_t offset, uint64_t length, char* target) except -1:
    """Lets a Python backend read, into memory that is its own: a part that it leaves out reads as zeros and never as what
    the target held before, and a view that it keeps reaches nothing."""
    cdef bytearray data = bytearray(length)
    answer = image.read_into(offset, memoryview(data))
    if isinstance(answer, int) and answer != length:
        raise ImageError(
            f"The backend {type(image).__name__} read {answer} bytes at {offset} instead of {length}.", path=image.path,
            offset=offset)
    if <uint64_t>len(data) != length:
        raise ImageError(f"The backend {type(image).__name__} changed the length of its target.", path=image.path)
    memcpy(target, PyByteArray_AS_STRING(data), length)
    return 0


cdef int report(object image, str doing) except? 0:
    """Logs the exception being handled and gives the errno for it, below zero."""
    kind, value, _ = sys.exc_info()
    if isinstance(value, (StorageFullError, OSError)) and value.errno in (ENOSPC, EDQUOT):
        return -ENOSPC      # writes wait then, and are tried again and again: that is told elsewhere, and once
    import structlog
    structlog.get_logger("goldherd.image").error(
        "a backend failed", image=repr(image), doing=doing, exc_info=True)
    if isinstance(value, StorageFullError):
        return -ENOSPC
    if isinstance(value, (OSError, ImageError)) and value.errno:
        return -<int>value.errno
    return -EIO


cdef int sync_data(int fd) noexcept nogil:
    """fdatasync: data and the file's length are on stable storage when this returns 0."""
    while fdatasync(fd):
        if last_errno != EINTR:
            return -last_errno
    return 0


cdef void complain(str path, object failure):
    """One line in the log when a disk fails; what follows from it is refused without another."""
    import structlog
    structlog.get_logger("goldherd.image").error(
        "a disk has failed and takes no writes until it has been checked", path=path, reason=str(failure),
        marked=failure.marked)


def pending_failure(fd: int, path: str = "") -> object:
    """The failure that a file brings along when it is opened for writing, or None.

    That is its mark, or an error of writing back that no program has been told of yet: a daemon that was killed left
    data in the kernel, and the kernel could not write it. The file is marked then.
    """
    cdef int descriptor = fd
    cdef int number = 0
    try:
        found = find_mark(fd)
    except OSError as error:
        raise ImageError(f"Could not read {path}: {error.strerror}.", path=path) from error
    if found is not None:
        return found
    with nogil:
        if sync_file_range(descriptor, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE):
            number = last_errno
    if number in (0, EINVAL, ENOSYS, ESPIPE):     # the last three: such a file can't be asked
        return None
    failure = mark(fd, failure_of(number))
    complain(path, failure)
    return failure


cdef class Image:
    """A disk: `size_bytes` bytes that can be read and perhaps written.

    Args:
        size_bytes: the size of the disk, a multiple of 512, above 0.
        read_only: whether write and discard are refused.
        path: the file it came from, for messages.
    """

    def __init__(self, size_bytes: int, *, read_only: bool = False, path: str = "") -> None:
        if not 0 < size_bytes <= limits.IMAGE_BYTES_MAX or size_bytes % 512:
            raise ImageError(
                f"The disk {path or type(self).__name__} has {size_bytes} bytes; a disk needs a positive multiple "
                "of 512.", path=path)
        self.size_bytes = size_bytes
        self.read_only = read_only
        self.path = path
        self.flags = IMAGE_PYTHON | IMAGE_STORE_BLOCKS

    # --- the Python door ---

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        """Fills target with the bytes from offset_bytes on. Every backend must have it."""
        raise ImageError(f"The backend {type(self).__name__} can't read.", path=self.path)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        """Takes data; reads see it at once, stable storage after flush()."""
        raise ImageError(f"The backend {type(self).__name__} can't write.", path=self.path)

    def flush(self) -> None:
        """Returns when everything written before is on stable storage."""

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """Makes the range read as zeros; the default writes them."""
        step = 1 << 20
        zeros = memoryview(bytes(min(step, length_bytes)))
        end = offset_bytes + length_bytes
        while offset_bytes < end:
            part = min(step, end - offset_bytes)
            self.write(offset_bytes, zeros[:part])
            offset_bytes += part

    def extent_at(self, offset_bytes: int, length_bytes: int) -> tuple[int, bool]:
        """(length of the run at offset_bytes, whether it is a hole); the default knows no holes."""
        return length_bytes, False

    def synchronize(self) -> None:
        """flush(), unless the disk has failed; an error of it makes the disk fail. What goldherd calls itself.

        Raises: ImageError while written data may not be on stable storage; StorageFullError if nothing is lost and
            only room is missing.
        """
        cdef int result
        with nogil:
            result = self.persist()
        if self.sync_failure is not None:
            raise ImageError(f"{self.path or self!r} has failed: {self.sync_failure}.", path=self.path)
        raise_for_errno(result, self.path, "flush data")

    def fail(self, failure: object) -> None:
        """Makes the disk a failed one: a goldherd.files.failed.Failure that is known of its file. The first counts."""
        if self.sync_failure is None:
            self.sync_failure = failure
            store32(&self.failed, failure.number)

    def stop_growth(self, stopped: bool) -> None:
        """Whether writes that need new space are refused from now on (EDQUOT); a format that can't tell them takes them."""
        store32(&self.flags, self.flags | IMAGE_NO_GROWTH if stopped else self.flags & ~<uint32_t>IMAGE_NO_GROWTH)

    def refresh(self) -> int:
        """Looks again at what of it is in memory; called every few seconds on a thread that may sleep.

        Returns: how many granules have left memory since the last look.
        """
        return 0

    def close(self) -> None:
        """Flushes and releases everything; called once, when the image is in use no more."""

    # --- conveniences over the Python door ---

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """The bytes of a range that lies inside the disk, or ImageError."""
        self.check_range(offset_bytes, length_bytes)
        target = bytearray(length_bytes)
        if length_bytes:
            self.read_into(offset_bytes, memoryview(target))
        return bytes(target)

    def check_range(self, offset_bytes: int, length_bytes: int) -> None:
        """Raises ImageError unless the range lies inside the disk."""
        if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > self.size_bytes:
            raise ImageError(
                f"Bytes {offset_bytes} to {offset_bytes + length_bytes} lie outside the disk {self.path}, which has "
                f"{self.size_bytes}.", path=self.path, offset=offset_bytes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path or '-'} {self.size_bytes} bytes>"

    # --- the C door, by way of the Python door ---

    cdef int plan(self, uint64_t offset, uint64_t length, Run* runs, int runs_max) noexcept nogil:
        return PLAN_BLOCKING

    cdef int load(self, uint64_t offset, uint64_t length, char* target) noexcept nogil:
        with gil:
            try:
                fill(self, offset, length, target)
                return 0
            except BaseException:
                return report(self, "read")

    cdef int store(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        if self.read_only or has_failed(self):
            return -EROFS
        with gil:
            try:
                # A copy: a backend that keeps the view must not meet what comes into this memory later.
                self.write(offset, memoryview(PyBytes_FromStringAndSize(source, <Py_ssize_t>length)))
                return 0
            except BaseException:
                return report(self, "write")

    cdef int persist(self) noexcept nogil:
        if has_failed(self):
            return -EIO
        with gil:
            try:
                self.flush()
                return -EIO if has_failed(self) else 0       # another flush has failed meanwhile
            except BaseException:
                self.fail(failure_of(-report(self, "flush")))
                return -EIO

    cdef int erase(self, uint64_t offset, uint64_t length) noexcept nogil:
        if self.read_only or has_failed(self):
            return -EROFS
        with gil:
            try:
                self.discard(offset, length)
                return 0
            except BaseException:
                return report(self, "discard")

    cdef int64_t extent(self, uint64_t offset, uint64_t length, int* state) noexcept nogil:
        with gil:
            try:
                run, hole = self.extent_at(offset, length)
                state[0] = EXTENT_HOLE if hole else EXTENT_MAPPED
                return min(max(<int64_t>run, 1), <int64_t>length)
            except BaseException:
                return report(self, "look up")

    cdef int store_now(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        return -EAGAIN


cdef class NativeImage(Image):
    """An image with a compiled C door; the Python door goes through it, checked."""

    def __cinit__(self, *args, **kwargs) -> None:
        pthread_mutex_init(&self.syncing, NULL)

    def __dealloc__(self) -> None:
        pthread_mutex_destroy(&self.syncing)

    def __init__(self, size_bytes: int, *, read_only: bool = False, path: str = "") -> None:
        super().__init__(size_bytes, read_only=read_only, path=path)
        self.flags = IMAGE_STORE_BLOCKS     # what never waits says so

    def read_into(self, offset_bytes: int, target: memoryview) -> None:
        cdef Py_buffer view
        cdef uint64_t offset
        cdef int result
        PyObject_GetBuffer(target, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            self.check_range(offset_bytes, view.len)
            offset = offset_bytes
            if view.len:
                with nogil:
                    result = self.load(offset, <uint64_t>view.len, <char*>view.buf)
                raise_for_errno(result, self.path, "read data")
        finally:
            PyBuffer_Release(&view)

    def write(self, offset_bytes: int, data: memoryview) -> None:
        cdef Py_buffer view
        cdef uint64_t offset
        cdef int result
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.check_range(offset_bytes, view.len)
            offset = offset_bytes
            if view.len:
                with nogil:
                    result = self.store(offset, <uint64_t>view.len, <const char*>view.buf)
                raise_for_errno(result, self.path, "write data")
        finally:
            PyBuffer_Release(&view)

    def flush(self) -> None:
        cdef int result
        with nogil:
            result = self.persist()
        raise_for_errno(result, self.path, "flush data")

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        cdef uint64_t offset
        cdef uint64_t length
        cdef int result
        self.check_range(offset_bytes, length_bytes)
        offset, length = offset_bytes, length_bytes
        if length:
            with nogil:
                result = self.erase(offset, length)
            raise_for_errno(result, self.path, "discard data")

    def extent_at(self, offset_bytes: int, length_bytes: int) -> tuple[int, bool]:
        cdef uint64_t offset
        cdef uint64_t length
        cdef int64_t result
        cdef int state = EXTENT_MAPPED
        self.check_range(offset_bytes, length_bytes)
        offset, length = offset_bytes, length_bytes
        with nogil:
            result = self.extent(offset, length, &state)
        if result < 0:
            raise_for_errno(<int>result, self.path, "look up extents")
        return result, state == EXTENT_HOLE

    # --- syncs, whose errors stick ---

    cdef int sync_file(self, int fd) noexcept nogil:
        """The kernel tells an error of writing back to one sync of a descriptor only, and the next one succeeds. So the
        syncs of an image take turns, and none answers 0 behind one that failed."""
        cdef int result = -EIO
        pthread_mutex_lock(&self.syncing)
        if not self.failed:
            result = sync_data(fd)
            if result:
                self._fail(fd, -result)
                result = -EIO
        pthread_mutex_unlock(&self.syncing)
        return result

    cdef int fail_file(self, int fd, int number) noexcept nogil:
        pthread_mutex_lock(&self.syncing)
        if not self.failed:
            self._fail(fd, number)
        pthread_mutex_unlock(&self.syncing)
        return -EIO

    cdef void _fail(self, int fd, int number) noexcept nogil:
        """Everything that follows from the first error; the caller holds `syncing`."""
        store32(&self.failed, <uint32_t>number)     # before anything that takes time: no write is taken from here on
        with gil:
            self.sync_failure = mark(fd, failure_of(number))
            complain(self.path, self.sync_failure)

    def _close_file(self, fd: int) -> None:
        """close(2) of a file that was written to. File systems on a network tell some errors only here, and a second
        descriptor then still marks the file."""
        cdef int number
        cdef int spare = -1
        try:
            spare = os.dup(fd)
        except OSError:     # no descriptor is left: the failure would be known to this process only
            spare = -1
        try:
            os.close(fd)
        except InterruptedError:
            pass            # the descriptor is closed all the same (close(2), Linux)
        except OSError as error:
            number = error.errno or EIO
            with nogil:
                self.fail_file(spare, number)
            raise ImageError(f"{self.path} has failed: {self.sync_failure}.", path=self.path) from error
        finally:
            if spare >= 0:
                close(spare)        # its error is the same one

    def plan_of(self, offset_bytes: int, length_bytes: int) -> list[tuple[str, int, int]] | str:
        """The plan of a range for people and tests: (kind, length, position or 0) per run, or what plan() said."""
        cdef Run runs[64]
        cdef int count
        self.check_range(offset_bytes, length_bytes)
        count = self.plan(offset_bytes, length_bytes, runs, 64)
        if count == PLAN_BLOCKING:
            return "blocking"
        if count == PLAN_COLD:
            return "cold"
        raise_for_errno(count, self.path, "plan a read")
        names = {RUN_MEMORY: "memory", RUN_FILE: "file", RUN_ZERO: "zero"}
        return [(names[runs[i].kind], runs[i].length, runs[i].position if runs[i].kind == RUN_FILE else 0)
                for i in range(count)]
