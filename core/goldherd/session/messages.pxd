"""Messages across the border between threads: a list under a mutex, and an eventfd that is written once per batch.

Each kind of message has a struct of its own that begins with the Message all of them share; the function that makes a
kind and the function that reads it are named beside it. A message names sessions, connections and tasks by id, number
and tag, never by pointer: its subject may be gone when the message is read. The eventfd is written only when the queue
was empty, and read before the list is taken.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.block.pool cimport Job
from goldherd.scsi.fastpath.unit cimport NexusState, UnitState

cdef enum MessageKind:
    # to a reactor; made in reactor/control.pyx, read in reactor/commands_in.pyx
    MESSAGE_ATTACH = 1              # AttachMessage: a connection that has finished its login
    MESSAGE_REPLY = 2               # ReplyMessage: the outcome of a command
    MESSAGE_PROCEED = 3             # ProceedMessage: nothing stands in the way of a read, serve it
    MESSAGE_PDU = 4                 # PduMessage: send this PDU
    MESSAGE_CLOSE_SESSION = 5       # CloseSessionMessage
    MESSAGE_CLOSE_CONNECTION = 6    # CloseConnectionMessage: its session goes on
    MESSAGE_EXPECT = 7              # ExpectMessage: a connection is about to join, say where the numbering stands
    MESSAGE_ABORT_TASK = 8          # AbortTaskMessage
    MESSAGE_ABORT_SESSION = 9       # AbortSessionMessage: tasks of one session
    MESSAGE_ABORT_UNIT = 10         # AbortUnitMessage: tasks of all sessions on a unit
    MESSAGE_DRAIN_UNIT = 11         # DrainUnitMessage: say when no job runs on a unit
    MESSAGE_DRAIN_WRITES = 12       # DrainWritesMessage: say when no job of a session can change a disk
    MESSAGE_WAKE = 13               # nothing more: look at suspended tasks again
    MESSAGE_JOB = 14                # JobMessage: a job has ended; from session/tasks.pyx
    MESSAGE_HOLD = 15               # HoldMessage: serve no connection, say when nothing is under way any more
    MESSAGE_GO_ON = 16              # nothing more: serve the connections again
    # to the control plane; read in reactor/events_out.pyx
    MESSAGE_COMMAND = 20            # CommandMessage: carry this command out; session/tasks.pyx
    MESSAGE_FAILED = 21             # FailedMessage: a task's I/O failed, make its sense data; session/tasks.pyx
    MESSAGE_REQUEST = 22            # RequestMessage: a PDU that is no SCSI command; session/receive.pyx
    MESSAGE_CLOSED = 23             # ClosedMessage: nothing of a connection is in use; session/tasks.pyx
    MESSAGE_DONE = 24               # DoneMessage: an abort or a drain is complete; reactor/commands_in.pyx
    MESSAGE_NUMBERED = 25           # NumberedMessage: answers an ExpectMessage; reactor/commands_in.pyx

cdef struct Message:
    Message* next
    int kind                # MessageKind

# --- to a reactor ---

cdef struct AttachMessage:
    Message head
    uint64_t session_id
    uint32_t connection     # its number in the session
    int fd                  # the reactor's from now on
    uint8_t joins           # one more connection of a session that is there
    uint8_t reinstates      # and it replaces one that was closed for it
    uint8_t initial_r2t
    uint8_t immediate_data
    uint8_t header_digest
    uint8_t data_digest
    uint32_t exp_cmd_sn     # of a session that begins
    uint32_t stat_sn
    uint32_t max_send_segment
    uint32_t max_receive_segment
    uint32_t max_burst
    uint32_t first_burst
    uint32_t residual_bytes # already received behind the login
    uint32_t lun_count
    NexusState* luns[0]     # lun_count of them; behind them the residual bytes

cdef struct ReplyMessage:
    Message head
    uint64_t session_id
    uint32_t tag
    uint8_t status          # SCSI status
    uint8_t sense_bytes
    uint8_t takes_data_out  # a command with Data-Out: the residual counts from `written`, and there is no Data-In
    uint32_t written        # bytes that the command block asked for
    uint32_t data_bytes     # of Data-In
    char content[0]         # sense data, then Data-In

cdef struct ProceedMessage:
    Message head
    uint64_t session_id
    uint32_t tag

cdef struct PduMessage:
    Message head
    uint64_t session_id
    uint32_t connection     # on which it goes out when it answers no request; or ANY_CONNECTION
    uint32_t tag            # of the request that it answers, or NO_TASK
    uint32_t max_send_segment   # the initiator has declared its MaxRecvDataSegmentLength anew; 0: it has not
    uint8_t flags           # PduFlag
    uint32_t pdu_bytes      # 0: the request is settled without an answer
    char pdu[0]             # basic header and data segment

cdef struct CloseSessionMessage:
    Message head
    uint64_t session_id

cdef struct CloseConnectionMessage:
    Message head
    uint64_t session_id
    uint32_t connection
    uint8_t reinstated      # another connection will replace it

cdef struct ExpectMessage:
    Message head
    uint64_t request_id
    uint64_t session_id

cdef struct AbortTaskMessage:
    Message head
    uint64_t request_id
    uint64_t session_id
    uint32_t itt            # as it came
    uint32_t ref_cmd_sn     # the number of the command, which will not come any more if it is not here
    uint32_t cmd_sn         # of the request itself

cdef struct AbortSessionMessage:
    Message head
    uint64_t request_id
    uint64_t session_id
    UnitState* unit         # NULL: tasks on all units
    uint64_t serial         # only tasks up to this one; 0: all
    uint8_t numbered        # and only commands numbered before `cmd_sn`
    uint32_t cmd_sn

cdef struct AbortUnitMessage:
    Message head
    uint64_t request_id
    UnitState* unit

cdef struct DrainUnitMessage:
    Message head
    uint64_t request_id
    UnitState* unit

cdef struct DrainWritesMessage:
    Message head
    uint64_t request_id
    uint64_t session_id

cdef struct HoldMessage:
    Message head
    uint64_t request_id

cdef struct JobMessage:
    # part of the job's own memory: no queue frees it
    Message head
    Job* job

# --- to the control plane ---

cdef struct CommandMessage:
    Message head
    uint64_t session_id
    uint64_t serial         # order of arrival
    uint32_t connection
    uint32_t tag
    uint32_t itt            # as it came
    uint32_t nexus          # its number, or NO_NEXUS
    uint32_t expected       # Expected Data Transfer Length
    uint8_t lun[8]
    uint8_t cdb[16]
    uint32_t data_bytes     # of Data-Out
    char* taken             # the Data-Out, if it is too long to be copied by a reactor: the message owns it; or NULL
    char data[0]            # else it stands here

cdef struct FailedMessage:
    Message head
    uint64_t session_id
    uint32_t tag
    uint32_t nexus          # its number, or NO_NEXUS
    int error               # errno
    uint8_t purpose         # Purpose of the task
    uint8_t cdb[16]

cdef struct RequestMessage:
    Message head
    uint64_t session_id
    uint64_t serial         # tasks up to this one came before
    uint32_t connection
    uint32_t tag
    uint8_t header[48]
    uint32_t data_bytes
    char data[0]

cdef struct ClosedMessage:
    Message head
    uint64_t session_id
    uint32_t connection
    int reason              # CloseReason
    uint8_t last            # its session has ended too

cdef struct DoneMessage:
    Message head
    uint64_t request_id
    uint32_t found          # tasks that were ended

cdef struct NumberedMessage:
    Message head
    uint64_t request_id
    uint8_t known           # the session is here, else the numbers say nothing
    uint32_t exp_cmd_sn
    uint32_t max_cmd_sn

cdef enum:
    NO_NEXUS = 0xFFFFFFFF

# --- queues ---

cdef struct MessageQueue:
    int eventfd
    Message* first
    Message* last
    void* mutex

cdef int open_queue(MessageQueue* queue) except -1
cdef void close_queue(MessageQueue* queue) noexcept nogil   # frees the messages that are left
cdef void post(MessageQueue* queue, Message* message) noexcept nogil    # the queue owns the message now
cdef Message* collect(MessageQueue* queue) noexcept nogil   # all messages in order, owned by the caller; NULL when empty
# A message of `struct_bytes`, which are zero but for the kind, and behind them room for `content_bytes`; NULL when out of
# memory.
cdef Message* make_message(int kind, size_t struct_bytes, size_t content_bytes) noexcept nogil
cdef void free_message(Message* message) noexcept nogil     # with all that it owns
