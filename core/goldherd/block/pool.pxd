"""Threads that may sleep, and listeners that they notify; all without the GIL.

The data plane gives a Job to a pool when something may wait for a disk (or for the GIL, in the pool for Python).
A reactor is a Listener: when any fetch has ended, all listeners with suspended tasks are woken.
"""

from libc.stdint cimport uint64_t

cdef struct Job:
    Job* next                               # owned by the pool while queued
    void (*run)(Job* job) noexcept nogil    # called once on a pool thread, which forgets the job before the call

cdef struct Listener:
    int eventfd             # written with 1 when a fetch has come
    int waiting             # > 0 while the listener has suspended work; set before planning a second time
    uint64_t epoch          # 0 outside a step, else the epoch in which it began
    Listener* next

cdef class Pool:
    cdef void* queue        # mutex, condition, list
    cdef readonly int thread_count
    cdef readonly str name
    cdef void submit(self, Job* job) noexcept nogil

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
