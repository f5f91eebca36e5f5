"""A session, its connections and its tasks in the full feature phase: the state the data plane keeps.

One reactor owns a session with all its connections and tasks; no other thread reads or writes these structs. The
session's id, a connection's number and a task's tag cross the border to Python, never a pointer.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

from goldherd.native.limits cimport COMMAND_WINDOW
from goldherd.scsi.fastpath.unit cimport NexusState
from goldherd.session.phases cimport CHECKS_PHASES, check_phase
from goldherd.wire.pdu cimport before

cdef struct Drain:
    uint64_t request_id     # what the control plane calls it
    uint32_t waiting        # jobs that must end before it is reported
    uint32_t found          # tasks it ended

cdef struct DrainEntry:
    # one drain that waits for a task's job
    DrainEntry* next
    Drain* drain

cdef struct Task:
    Task* next              # in the send queue, the suspended tasks, those that wait for a buffer or for space, or the
                            # free list
    Task* newer             # live tasks of the session, both ways
    Task* older
    Connection* connection  # stays, closed, as long as a job of the task runs
    NexusState* nexus
    DrainEntry* drains      # told when the job of this task is done
    void* owned             # freed with the task; `buffer` may point into it
    uint64_t serial         # order of arrival
    uint64_t offset         # bytes: where on the image the transfer begins
    uint64_t move           # bytes that will be moved: the smaller of CDB and expected length
    uint64_t done           # bytes moved between image and buffer or socket
    uint64_t cdb_bytes      # bytes the command block asks for, for the residual
    uint32_t expected       # Expected Data Transfer Length, 0 when the direction bit is missing
    uint32_t itt            # as it came, never interpreted
    uint32_t cmd_sn         # of the command; of an immediate one, the next number when it was sent
    uint32_t tag            # index and generation: the Target Transfer Tag of what is asked for from here on
    uint32_t ttt            # the one under which data was asked for last: `tag`, unless the task came from another process
    uint32_t data_sn        # of the next Data-In, or of the next expected Data-Out
    uint32_t r2t_sn
    uint32_t burst_left     # bytes until F must be set (RFC 7143 11.7.1)
    char* buffer            # write chunk, or bytes to send
    uint32_t buffer_bytes   # its size when it came from the write buffers, else 0
    uint32_t chunk          # bytes the buffer is to hold for the current step
    uint32_t received       # bytes of the chunk that have come
    uint32_t allowed        # bytes of the chunk the initiator may send now (first burst or R2T)
    uint8_t lun[8]
    uint8_t cdb[16]
    uint8_t phase           # Phase (phases.pxd); changed by enter() only
    uint8_t purpose         # Purpose
    uint8_t status          # SCSI status to report
    uint8_t sense_bytes     # at the start of `buffer`, PHASE_REPLY
    uint8_t immediate       # used up no CmdSN
    uint8_t fua
    uint8_t aborted         # the outcome is swallowed
    uint8_t unsolicited     # Data-Out with the reserved tag may still come
    uint8_t cold_plans      # plans that found cold data; from COLD_PLANS_MAX on the pool reads it
    uint8_t flags           # PDU_... of a PURPOSE_PDU
    uint8_t directions      # R and W of the command's header (RFC 7143 11.3.1)
    uint8_t loaded          # `buffer` holds `chunk` bytes read by the pool
    uint8_t queued          # stands in the send queue
    uint8_t awaits_fetch    # counted in the listener's `waiting`
    uint8_t reminds         # the R2T it has out is for a part that is dropped: it waits for space
    uint8_t waited          # has waited for space
    uint64_t reminded_ms    # when the initiator saw a sign of it last, while it waits for space
    int error               # errno of a failed job, above 0

cdef inline void enter(Task* task, int phase) noexcept nogil:
    if CHECKS_PHASES:
        check_phase(task.phase, phase)
    task.phase = <uint8_t>phase

cdef struct Session:
    uint32_t exp_cmd_sn     # next CmdSN we take
    uint32_t max_cmd_sn     # the highest MaxCmdSN told so far
    uint32_t window         # commands it may have under way
    uint32_t live           # tasks that take a place of the window
    uint32_t waiting        # connections stalled at a gap of the numbering, and numbers skipped: 0 almost always
    uint32_t lun_count
    NexusState** luns       # by LUN; NULL where there is none; owned
    Task* newest
    uint8_t multiple        # has had more than one connection: a gap may close on another one
    # cold
    uint8_t reinstating     # a connection will replace one that was closed (RFC 7143 6.3.4); it counts in `connections`
    uint32_t connections    # that belong to it
    Connection* first       # of its connections, newest first
    Session* next           # of all sessions of the reactor
    Session* previous
    Session* next_of_hash   # in the same entry of the table
    uint64_t skipped[COMMAND_WINDOW >> 6]   # numbers behind a gap that count as received, by CmdSN modulo the window
    uint64_t id             # by which Python knows the session
    uint64_t buffer_bytes   # write buffers its tasks hold

cdef struct Pending:
    # what a full socket left over of a batch
    iovec* iov              # not yet sent
    uint32_t** pins         # per iovec: raised while it is here, or NULL
    int first               # next to send
    int count
    char* copy              # what lay in the reactor's own memory

cdef struct Connection:
    # hot
    int fd
    uint32_t index
    uint32_t stat_sn        # StatSN of the next response
    Session* session
    uint32_t max_send_segment   # the initiator's MaxRecvDataSegmentLength, bytes
    uint32_t max_receive_segment
    uint32_t max_burst
    uint32_t first_burst
    uint8_t initial_r2t
    uint8_t immediate_data
    uint8_t header_digest
    uint8_t data_digest
    uint8_t running         # in the run queue
    uint8_t closing         # no more input; close when all is sent
    uint8_t closed          # waits only for its jobs
    uint8_t answers_pings   # has answered one: from now on silence counts
    uint8_t ping_waits
    uint8_t blocked         # the socket was full: epoll waits for EPOLLOUT only
    uint8_t residue_whole   # the residue may hold whole PDUs
    uint8_t stalled         # its next command comes after one that another connection has not brought yet
    uint8_t paused          # stalled with so much received that nothing more is
    Task* send_first
    Task* send_last
    Pending* pending
    # receiving
    char* residue           # bytes of a PDU that is not complete
    uint32_t residue_bytes
    uint32_t residue_room
    char* sink              # where the data of the current Data-Out goes; NULL: dropped
    uint32_t sink_left      # bytes of the data segment still to come
    uint32_t sink_tail      # padding and digest behind it, bytes; 0 with sink_left 0: no PDU under way
    uint32_t sink_length    # the whole data segment
    uint32_t sink_crc
    Task* sink_task         # NULL: dropped
    uint8_t sink_header[48]
    # cold
    Connection* sibling     # the next older connection of the session
    uint32_t number         # by which Python tells the connections of a session apart
    uint32_t stalled_at     # the CmdSN that must come next
    uint64_t stalled_ms     # since when
    Connection* next_running    # in the run queue, both ways
    Connection* previous_running
    uint32_t jobs           # jobs in the pools
    uint64_t input_ms       # when something came last
    uint64_t stuck_ms       # since when a send is waiting; 0: none
    uint32_t ping_tag
    int reason              # CLOSE_...
    uint64_t commands
    uint64_t read_bytes
    uint64_t write_bytes

cdef inline uint32_t max_cmd_sn(Session* session) noexcept nogil:
    """MaxCmdSN for the next PDU. It never decreases (RFC 7143 4.2.2.1): immediate tasks take places without a CmdSN,
    and what was told once, the initiator may use.
    """
    cdef uint32_t free_places = session.window - session.live if session.live < session.window else 0
    cdef uint32_t now = session.exp_cmd_sn + free_places - 1
    if before(session.max_cmd_sn, now):
        session.max_cmd_sn = now
    return session.max_cmd_sn

cdef inline bint in_window(Session* session, uint32_t cmd_sn) noexcept nogil:
    """ExpCmdSN <= CmdSN <= MaxCmdSN, in serial number arithmetic."""
    return not before(cmd_sn, session.exp_cmd_sn) and not before(max_cmd_sn(session), cmd_sn)
