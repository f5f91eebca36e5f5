"""A disk striped over several raw files: goldherd export stripe:/fast1/a.raw+/fast2/b.raw,stripe-bytes=65536

A whole compiled format: reads and writes go from the reactor to the files without the GIL. The location is no path but a
list of paths, so these disks can be served, and not be imported or sealed.
"""

from libc.errno cimport EBADF, EIO, EROFS
from libc.stdint cimport int64_t, uint64_t

from goldherd.block.fileio cimport read_whole, write_whole, zero_range
from goldherd.block.image cimport IMAGE_ABI, RUN_FILE, NativeImage, Run, has_failed

import os
from dataclasses import dataclass

from goldherd import Capabilities, Format, hookimpl
from goldherd.block.image import pending_failure
from goldherd.errors import ImageError
from goldherd.files.locks import open_locked, size_of

goldherd_abi = IMAGE_ABI
"""goldherd declines a compiled plugin whose number is another one."""

cdef enum:
    FILES_MAX = 16


@dataclass(frozen=True)
class StripeOptions:
    """How the disk is laid out; the same each time it is opened."""

    stripe_bytes: int = 65536


cdef class StripeImage(NativeImage):
    """Stripe n of the disk is stripe n // count of file n % count."""

    cdef int fds[FILES_MAX]
    cdef int count
    cdef uint64_t stripe_bytes

    def __init__(self, list fds, uint64_t size_bytes, uint64_t stripe_bytes, bint read_only, str path) -> None:
        super().__init__(size_bytes, read_only=read_only, path=path)
        self.stripe_bytes = stripe_bytes
        for number, fd in enumerate(fds):
            self.fds[number] = fd
        self.count = len(fds)       # last: it tells that the files are this image's

    def close(self) -> None:
        try:
            if not self.read_only:
                self.synchronize()
        finally:
            count, self.count = self.count, 0
            for number in range(count):
                self._close_file(self.fds[number])

    cdef uint64_t place(self, uint64_t offset, uint64_t length, int* fd, int64_t* position) noexcept nogil:
        """Where the bytes at offset lie, and how many of them lie there in one run."""
        cdef uint64_t stripe = offset // self.stripe_bytes
        cdef uint64_t inside = offset % self.stripe_bytes
        fd[0] = self.fds[stripe % <uint64_t>self.count]
        position[0] = <int64_t>(stripe // <uint64_t>self.count * self.stripe_bytes + inside)
        return min(length, self.stripe_bytes - inside)

    cdef int plan(self, uint64_t offset, uint64_t length, Run* runs, int runs_max) noexcept nogil:
        cdef int made = 0
        if self.count == 0:
            return -EBADF
        while length and made < runs_max:
            runs[made].kind = RUN_FILE
            runs[made].length = self.place(offset, length, &runs[made].fd, &runs[made].position)
            offset += runs[made].length
            length -= runs[made].length
            made += 1
        return made

    cdef int load(self, uint64_t offset, uint64_t length, char* target) noexcept nogil:
        cdef int fd, result
        cdef int64_t position
        cdef uint64_t part
        if self.count == 0:
            return -EBADF
        while length:
            part = self.place(offset, length, &fd, &position)
            result = read_whole(fd, position, part, target)
            if result < 0:
                return result
            offset += part
            target += part
            length -= part
        return 0

    cdef int store(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil:
        cdef int fd, result
        cdef int64_t position
        cdef uint64_t part
        if self.read_only or has_failed(self):
            return -EROFS
        if self.count == 0:
            return -EBADF
        while length:
            part = self.place(offset, length, &fd, &position)
            result = write_whole(fd, position, part, source)
            if result < 0:
                return result
            offset += part
            source += part
            length -= part
        return 0

    cdef int erase(self, uint64_t offset, uint64_t length) noexcept nogil:
        cdef int fd, result
        cdef int64_t position
        cdef uint64_t part
        if self.read_only or has_failed(self):
            return -EROFS
        if self.count == 0:
            return -EBADF
        while length:
            part = self.place(offset, length, &fd, &position)
            result = zero_range(fd, position, part)
            if result < 0:
                return result
            offset += part
            length -= part
        return 0

    cdef int persist(self) noexcept nogil:
        cdef int number, result
        if self.count == 0:
            return -EBADF
        if has_failed(self):
            return -EIO
        if self.read_only:
            return 0
        for number in range(self.count):
            result = self.sync_file(self.fds[number])
            if result < 0:
                return result
        return 0


class StripeFormat(Format):
    """The format, as goldherd sees it."""

    name = "stripe"
    title = "one disk striped over several raw files"
    capabilities = Capabilities(write=True, file=False, discard=True)
    options = StripeOptions

    def open(self, location, mode, opener, options):
        paths = location.split("+")
        stripe_bytes = options.stripe_bytes
        if not 1 < len(paths) <= FILES_MAX:
            raise ImageError(f"{location} names {len(paths)} files: join 2 to {FILES_MAX} with +.", path=location)
        if stripe_bytes < 512 or stripe_bytes % 512:
            raise ImageError(f"A stripe has whole sectors of 512 bytes, not {stripe_bytes} bytes.", path=location)
        fds = []
        try:
            for path in paths:
                fds.append(open_locked(path, mode))
            stripes = min(size_of(fd) for fd in fds) // stripe_bytes
            failures = [pending_failure(fd, path) for fd, path in zip(fds, paths, strict=True)] if mode == "rw" else []
            image = StripeImage(fds, stripes * len(fds) * stripe_bytes, stripe_bytes, mode != "rw", location)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        for failure in filter(None, failures):
            image.fail(failure)
        return image


@hookimpl
def image_formats():
    """The format stripe."""
    return StripeFormat()
