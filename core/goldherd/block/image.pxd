"""The base class of everything that holds sectors, as compiled code sees it.

Two doors lead into an image. The Python door (read_into, write, flush, discard, extent, close) is enough for a
backend in plain Python. The C door below is what the data plane calls, without the GIL; its defaults take the GIL
and go through the Python door. Virtual calls cost a few ns: once per command and run, never per sector.

The order of the `cdef` methods is an ABI: new ones go to the end and IMAGE_ABI grows. A compiled plugin built
against another number is declined by hooks.py, because it would silently call the wrong method.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from goldherd.native.linux cimport load32, pthread_mutex_t

cdef enum:
    IMAGE_ABI = 2

cdef enum RunKind:
    RUN_MEMORY = 1      # bytes at `memory`, good until the reader's batch ends, longer only while *pins is raised
    RUN_FILE = 2        # bytes at `position` of `fd`; may have to come from a disk, so read with RWF_NOWAIT
    RUN_ZERO = 3        # zeros

cdef struct Run:
    int kind            # RunKind
    int fd              # RUN_FILE: the image's descriptor, open as long as the image. RUN_MEMORY: the file that
                        # the memory maps, -1 when it maps none: code that must touch the bytes reads them there,
                        # because touching the mapping of a file that was truncated kills the process (SIGBUS)
    uint64_t length     # bytes, never 0
    const char* memory  # RUN_MEMORY
    int64_t position    # with fd: bytes from the start of the file
    uint32_t* pins      # RUN_MEMORY: counter that holds the memory in place; NULL when nothing ever moves it

cdef enum:
    # what plan() says when it has no runs; never an errno
    PLAN_BLOCKING = -10000  # can't be planned: call load() on a thread that may sleep
    PLAN_COLD = -10001      # being fetched into memory; the pool's listeners are woken when it has come, plan again

cdef enum:
    IMAGE_PYTHON = 1        # the C door takes the GIL: use the threads for Python, never a reactor
    IMAGE_STORE_BLOCKS = 2  # store() may wait for a disk: never call it on a reactor
    IMAGE_STORE_NOW = 4     # store_now() is worth a try before a thread is asked
    IMAGE_NO_GROWTH = 8     # the disk has used up its quota: store() and erase() answer -EDQUOT where they need new space

cdef enum ExtentState:
    EXTENT_MAPPED = 0
    EXTENT_HOLE = 1         # reads as zeros and takes no space

cdef class Image:
    cdef object __weakref__
    cdef readonly uint64_t size_bytes   # a multiple of 512
    cdef readonly bint read_only        # store() and discard() answer -EROFS
    cdef uint32_t failed                # errno of the first sync that failed, 0 until then. From then on persist()
                                        # answers -EIO, store() and erase() -EROFS; reads go on
    cdef public str path                # for messages; "" when there is no file
    cdef readonly object sync_failure   # the same for people: a goldherd.files.failed.Failure; None until then
    cdef uint32_t flags                 # IMAGE_...

    # Ranges are checked by the caller: offset + length <= size_bytes. All answers: >= 0 good, below 0 -errno.

    # At most runs_max runs covering a prefix of the range in order (so the lengths add up to <= length, > 0);
    # returns their number, or PLAN_..., or -errno. Never sleeps.
    cdef int plan(self, uint64_t offset, uint64_t length, Run* runs, int runs_max) noexcept nogil
    # Copies the range to target. May sleep.
    cdef int load(self, uint64_t offset, uint64_t length, char* target) noexcept nogil
    # Takes the bytes; a later load or plan sees them. On stable storage only after persist().
    cdef int store(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil
    # Everything stored before this call is on stable storage when it returns 0. May sleep. An error that may have
    # cost data is -EIO for ever after (`failed`); one that has cost none (no room for a table) is told as it is.
    cdef int persist(self) noexcept nogil
    # The range reads as zeros afterwards; space is given back where the format can. May sleep.
    cdef int erase(self, uint64_t offset, uint64_t length) noexcept nogil
    # Length of the run at `offset` (at most `length`) that has one ExtentState, stored in *state. May sleep.
    cdef int64_t extent(self, uint64_t offset, uint64_t length, int* state) noexcept nogil
    # Like store(), but never waits: -EAGAIN when it would have to. A part may be stored then, which store() repeats.
    cdef int store_now(self, uint64_t offset, uint64_t length, const char* source) noexcept nogil

cdef inline bint has_failed(Image image) noexcept nogil:
    """Whether a sync of the image has failed, which another thread may find out at any time."""
    return load32(&image.failed) != 0

cdef inline bint may_not_grow(Image image) noexcept nogil:
    """Whether the image's quota is used up, which another thread may find out at any time."""
    return load32(&image.flags) & IMAGE_NO_GROWTH != 0

cdef class NativeImage(Image):
    """An image whose C door is the real one; its Python door calls it."""
    cdef pthread_mutex_t syncing        # held over a sync and what follows from its answer

    # fdatasync of a file of this image: 0, or -EIO once one has failed. The only way in which an image syncs.
    cdef int sync_file(self, int fd) noexcept nogil
    # Something else has shown that stored data may be lost: the image has failed, and its file is marked. -EIO.
    cdef int fail_file(self, int fd, int number) noexcept nogil
    cdef void _fail(self, int fd, int number) noexcept nogil
