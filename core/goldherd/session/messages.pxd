"""Messages across the border between threads: a list under a mutex, and an eventfd that is written once per batch.

A message names sessions, connections and tasks by id, number and tag, never by pointer: its subject may be gone when
the message is read. The eventfd is written only when the queue was empty, and read before the list is taken.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.block.pool cimport Job

cdef enum MessageKind:
    # to a reactor
    MESSAGE_ATTACH = 1      # take over a connection: payload is an Attachment
    MESSAGE_REPLY = 2       # the outcome of a command: payload is sense, then data
    MESSAGE_PDU = 3         # send this PDU: payload is header and data
    MESSAGE_CLOSE = 4       # close the connection
    MESSAGE_ABORT = 5       # end tasks, then acknowledge
    MESSAGE_DRAIN = 6       # acknowledge when no job runs on a unit
    MESSAGE_WAKE = 7        # look at suspended tasks again
    MESSAGE_JOB = 8         # a job has ended: `place` is the Job, memory of the reactor
    MESSAGE_PROCEED = 9     # nothing stands in the way of a read: serve it
    MESSAGE_CLOSE_ALONE = 10    # close one connection; its session goes on
    MESSAGE_EXPECT = 11     # a connection is about to join a session: say where its numbering stands
    # to the control plane
    MESSAGE_COMMAND = 20    # carry this command out: payload is its Data-Out
    MESSAGE_REQUEST = 21    # a PDU for the control plane: payload is header and data
    MESSAGE_FAILED = 22     # a task's I/O failed with this errno; reply with status and sense
    MESSAGE_CLOSED = 23     # the connection is gone and nothing of it is in use
    MESSAGE_DONE = 24       # an abort or a drain is complete
    MESSAGE_NUMBERED = 25   # where the numbering stands: `number` ExpCmdSN, `value` MaxCmdSN; `tag` 0: no such session

cdef struct Message:
    Message* next
    int kind
    uint32_t connection     # its number in the session
    uint32_t tag            # task
    uint32_t itt
    uint32_t number         # nexus, or flags of a PDU
    uint32_t value          # expected length, errno, reason, number of tasks
    uint32_t status         # SCSI status; purpose of a failed task
    uint64_t session_id     # or request
    uint32_t cmd_sn         # MESSAGE_ABORT: the request's own, if `numbered`
    uint8_t numbered
    uint8_t last            # MESSAGE_CLOSED: the session has ended
    uint64_t serial         # of the newest task that counts
    void* place             # MESSAGE_JOB: the job; MESSAGE_DRAIN, MESSAGE_ABORT: the unit or NULL
    uint8_t lun[8]
    uint8_t cdb[16]
    uint32_t sense_bytes
    uint32_t bytes
    uint64_t aligned[0]     # the payload may be a struct with pointers
    uint8_t payload[0]

cdef struct MessageQueue:
    int eventfd
    Message* first
    Message* last
    void* mutex

cdef int open_queue(MessageQueue* queue) except -1
cdef void close_queue(MessageQueue* queue) noexcept nogil    # frees the messages that are left
cdef void post(MessageQueue* queue, Message* message) noexcept nogil     # the queue owns the message now
cdef Message* collect(MessageQueue* queue) noexcept nogil   # all messages in order, owned by the caller; NULL when empty
cdef Message* make_message(int kind, uint32_t payload_bytes) noexcept nogil   # zeroed head; NULL when out of memory
