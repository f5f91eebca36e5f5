"""The state of one reactor, on which receive.pyx, commands.pyx, tasks.pyx and emit.pyx work.

The session room touches no socket: service.pyx calls `send_some` and `receive_some` of its driver, which are system
calls in reactor/epoll.pyx and plain memory in reactor/inmemory.pyx. Everything runs on one thread; other threads
reach it by messages.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec

from goldherd.block.pool cimport Job, Listener
from goldherd.native.limits cimport DATA_SEGMENT_BYTES_MAX, RECEIVE_BYTES
from goldherd.session.batch cimport Batch
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
    uint64_t buffer_bytes   # write buffers in use
    uint64_t serial         # of the newest task
    uint64_t now_ms         # at the start of this step of the loop
    uint64_t ping_ms        # silence after which a NOP-In is sent
    uint64_t silence_ms     # silence after which an initiator that has answered a ping before is closed
    Counters counters
    uint8_t held            # no connection is served: what is under way comes to its end, and nothing else happens
    uint64_t hold_request   # to be reported when nothing is under way any more; 0: it has been
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
