"""Threads that may sleep, and listeners that they notify; all without the GIL.

The data plane gives a Job to a pool when something may wait for a disk (or for the GIL, in the pool for Python). The
jobs of one disk go through a Lane, so that a disk that hangs holds up no other's.
A reactor is a Listener: when any fetch has ended, all listeners with suspended tasks are woken.
"""

from libc.stdint cimport uint32_t, uint64_t

from goldherd.native.limits cimport LANE_JOBS_MAX
from goldherd.native.linux cimport load32

cdef struct Job:
    Job* next                               # owned by the pool while queued
    void (*run)(Job* job) noexcept nogil    # called once on a pool thread, which forgets the job before the call
    uint64_t begin                          # of a write: the bytes of the disk that it changes; others have end 0
    uint64_t end

cdef inline void prepare(Job* job, void (*run)(Job*) noexcept nogil, uint64_t begin, uint64_t end) noexcept nogil:
    job.run = run
    job.begin = begin
    job.end = end

cdef struct Lane:
    # The jobs of one disk; they begin in the order of submit(). Two writes of the same bytes are never under way
    # together, so that the later one lasts. The pool's mutex guards all but `writes`.
    void* queue             # of the pool
    Lane* next              # in the pool's queue
    Job* first
    Job* last
    int running             # jobs under way, LANE_JOBS_MAX at most
    uint64_t[LANE_JOBS_MAX] begins      # what the writes under way change; end 0: a place that is free
    uint64_t[LANE_JOBS_MAX] ends
    uint32_t writes         # in the lane, those under way included; a reactor may load it at any time
    bint queued             # in the pool's queue: a job may begin
    bint closed             # freed by its last job
    uint64_t since_ms       # when it came into the queue

cdef struct Listener:
    int eventfd             # written with 1 when a fetch has come
    int waiting             # > 0 while the listener has suspended work; set before planning a second time
    uint64_t epoch          # 0 outside a step, else the epoch in which it began
    Listener* next

cdef class Pool:
    cdef void* queue        # mutex, conditions, lanes
    cdef readonly str name
    cdef Lane* open_lane(self) noexcept nogil      # NULL: no memory
    cdef void submit(self, Lane* lane, Job* job) noexcept nogil

cdef inline bint has_writes(Lane* lane) noexcept nogil:
    """Whether a write of this disk is in its lane: one that is stored past it could be overtaken by it."""
    return load32(&lane.writes) != 0

cdef void close_lane(Lane* lane) noexcept nogil         # no job comes any more; those in it are done

cdef void listen(Listener* listener) noexcept nogil      # from now on it is woken; it must live until unlisten
cdef void unlisten(Listener* listener) noexcept nogil
cdef void notify() noexcept nogil                        # wakes every listener with waiting > 0

# Grace periods for memory that listeners may be reading (golden.pxd).
cdef void begin_step(Listener* listener) noexcept nogil  # what it sees from now on stays until end_step
cdef void end_step(Listener* listener) noexcept nogil
cdef uint64_t next_epoch() noexcept nogil
cdef bint epoch_over(uint64_t epoch) noexcept nogil      # whether every step that began before it has ended
cdef void wait_for_epoch(uint64_t epoch) noexcept nogil  # returns when that is so

cdef Pool storage_pool()     # the process's pool for disks
cdef Pool python_pool()      # the process's pool for Python backends
