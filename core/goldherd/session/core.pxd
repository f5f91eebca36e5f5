"""The state of one reactor, on which receive.pyx, commands.pyx, tasks.pyx and emit.pyx work.

The session room touches no socket: service.pyx calls `send_some` and `receive_some` of its driver, which are system
calls in reactor/epoll.pyx and plain memory in reactor/inmemory.pyx. Everything runs on one thread; other threads
reach it by messages.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.time cimport clock_gettime, clockid_t, timespec
from posix.uio cimport iovec

from goldherd.block.pool cimport Job, Listener
from goldherd.native.limits cimport DATA_SEGMENT_BYTES_MAX, RECEIVE_BYTES, SLOW_STEP_MILLISECONDS
from goldherd.native.linux cimport store32, store64
from goldherd.session.batch cimport Batch
from goldherd.session.codes cimport STEP_COMMANDS, STEP_WORKS
from goldherd.session.messages cimport JobMessage, MessageQueue
from goldherd.session.state cimport Connection, Session, Task

cdef enum:
    NO_TASK = 0xFFFFFFFF            # in place of a tag
    ANY_CONNECTION = 0xFFFFFFFF     # in place of the number of a session's connection

cdef enum:
    # what the driver's two functions say besides a number of bytes
    STREAM_ENDED = -1          # end of the stream, or an error
    STREAM_EMPTY = -2         # nothing to receive now

cdef struct Core

# Bytes taken of the iovec, 0 when the peer takes no more for now, or STREAM_ENDED.
ctypedef ssize_t (*SendSome)(Core* core, Connection* connection, iovec* iov, int count) noexcept nogil
# Bytes put into the iovec, or STREAM_EMPTY, or STREAM_ENDED.
ctypedef ssize_t (*ReceiveSome)(Core* core, Connection* connection, iovec* iov, int count) noexcept nogil

cdef struct Counters:
    uint64_t commands
    uint64_t reads
    uint64_t writes
    uint64_t read_bytes
    uint64_t write_bytes
    uint64_t receives
    uint64_t sends
    uint64_t slow_commands  # commands that took the slow path
    uint64_t cold_waits     # reads that waited for a fetch
    uint64_t jobs           # given to the pools
    uint64_t rejects
    uint64_t stalls         # connections that had to wait for a command of another one
    uint64_t dropped        # PDUs outside the window, Data-Out of tasks that are gone
    uint64_t digest_errors
    uint64_t busy           # TASK SET FULL
    uint64_t space_waits    # writes that had to wait for space

cdef extern from "<time.h>" nogil:
    clockid_t CLOCK_MONOTONIC_COARSE

cdef struct StepTimes:
    # How long steps take, and with what: one line for each StepWork.
    int doing               # a StepWork: the time since `since_ms` goes to it
    uint64_t began_ms       # this step
    uint64_t since_ms       # the time until then has been given to a kind of work
    uint32_t[STEP_WORKS] spent_ms       # of this step
    uint64_t[STEP_WORKS] slow           # steps above SLOW_STEP_MILLISECONDS, each under what took most of it
    uint32_t[STEP_WORKS] longest_ms     # of these

cdef struct Core:
    Batch* batch
    uint8_t* receive        # INPUT_BYTES: one receive behind the longest PDU that is collected before it is looked at
    uint8_t* scratch        # where data goes that belongs to no task
    const char* zeros       # EMIT_BYTES_MAX of them
    Connection* running_first   # have something to do now
    Connection* running_last
    uint32_t running_count
    Task* suspended         # wait for cold data, or for a unit that is quiesced
    Task* buffer_waiters_first      # wait for a write buffer, oldest first
    Task* buffer_waiters_last
    Task* space_waiters_first        # wait for space, the longest waiting first
    Task* space_waiters_last
    uint64_t buffer_bytes   # write buffers in use
    uint64_t serial         # of the newest task
    uint64_t now_ms         # at the start of this step of the loop
    uint64_t ping_ms        # silence after which a NOP-In is sent
    uint64_t full_hold_ms   # how long writes wait for space on a disk that is full
    uint64_t silence_ms     # silence after which an initiator that has answered a ping before is closed
    Counters counters
    uint8_t held            # no connection is served: what is under way comes to its end, and nothing else happens
    uint64_t hold_request   # to be reported when nothing is under way any more; 0: it has been
    StepTimes times
    # memory
    Task** slabs
    uint32_t slab_count
    Task* free_tasks
    void** free_buffers     # by power of two
    uint64_t free_buffer_bytes
    Session* sessions       # all, newest first
    Session** session_table # by hash of their id, each entry a list; 1 << session_table_bits entries, NULL before the first
    uint32_t session_table_bits
    uint32_t session_count
    Connection** connections
    uint32_t* free_indices  # of `connections` that are NULL: the last one is taken next
    uint32_t connection_room
    uint32_t connection_count
    # neighbours
    SendSome send_some
    ReceiveSome receive_some
    void* driver            # theirs
    MessageQueue messages   # to this reactor
    MessageQueue* events    # to the control plane
    Listener listener
    void* pool              # Pool of a driver without threads, for all jobs; NULL: each unit's own

cdef struct TaskJob:
    Job job
    Core* core
    Task* task
    JobMessage report       # part of the job, so that the report can't fail
    void* image
    int operation           # PURPOSE_READ, PURPOSE_WRITE or PURPOSE_FLUSH
    uint64_t offset
    uint64_t length
    char* buffer
    int result

cdef enum:
    COLLECT_BYTES_MAX = 48 + 1020 + 4 + DATA_SEGMENT_BYTES_MAX + 4      # header, AHS, data, digests
    INPUT_BYTES = RECEIVE_BYTES + COLLECT_BYTES_MAX

cdef inline uint64_t coarse_ms() noexcept nogil:
    """The kernel's own clock, a few milliseconds behind: read in memory, whatever hardware tells the time (vdso(7))."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return <uint64_t>now.tv_sec * 1000 + <uint64_t>now.tv_nsec / 1000000

cdef inline void begin_times(Core* core) noexcept nogil:
    """A step begins."""
    core.times.doing = STEP_COMMANDS
    core.times.began_ms = coarse_ms()
    core.times.since_ms = core.times.began_ms

cdef inline int turn_to(Core* core, int work) noexcept nogil:
    """From here on the step's time goes to that StepWork; what it went to until now."""
    cdef uint64_t now = coarse_ms()
    cdef int before = core.times.doing
    if now != core.times.since_ms:
        core.times.spent_ms[before] += <uint32_t>(now - core.times.since_ms)
        core.times.since_ms = now
    core.times.doing = work
    return before

cdef inline void end_times(Core* core) noexcept nogil:
    """The step is over: it counts when it was slow."""
    cdef StepTimes* times = &core.times
    cdef uint32_t took
    cdef int most = 0
    cdef int work
    turn_to(core, STEP_COMMANDS)
    if times.since_ms == times.began_ms:
        return
    took = <uint32_t>(times.since_ms - times.began_ms)
    for work in range(STEP_WORKS):
        if times.spent_ms[work] > times.spent_ms[most]:
            most = work
    if took > <uint32_t>SLOW_STEP_MILLISECONDS:
        store64(&times.slow[most], times.slow[most] + 1)        # the control plane reads both at any time
        if took > times.longest_ms[most]:
            store32(&times.longest_ms[most], took)
    for work in range(STEP_WORKS):
        times.spent_ms[work] = 0
