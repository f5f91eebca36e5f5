"""The control API of a reactor: messages that Python sends to it, and its counters.

Every method returns at once; the reactor acts on the message in its next step (commands_in.pyx), and what it has to
say comes back as an event (events_out.pyx).
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from goldherd.session.codes import StepWork

from goldherd.block.pool cimport listen, unlisten
from goldherd.native.linux cimport load32, load64
from goldherd.native.limits cimport (
    DATA_SEGMENT_BYTES_MAX, EMIT_BYTES_MAX, LUNS_MAX, PING_SECONDS, RECEIVE_BYTES, SECTOR_BYTES, SENSE_BYTES_MAX,
    SILENCE_SECONDS)
from goldherd.reactor.events_out cimport EventQueue
from goldherd.scsi.fastpath.unit cimport HotNexus, HotUnit, NexusState, UnitState
from goldherd.session.core cimport ANY_CONNECTION, NO_TASK, StepTimes
from goldherd.session.memory cimport close_core, open_core
from goldherd.session.messages cimport (
    AbortSessionMessage, AbortTaskMessage, AbortUnitMessage, AttachMessage, CloseConnectionMessage, CloseSessionMessage,
    DrainUnitMessage, DrainWritesMessage, ExpectMessage, HoldMessage, MESSAGE_ABORT_SESSION, MESSAGE_ABORT_TASK, MESSAGE_ABORT_UNIT,
    MESSAGE_ATTACH, MESSAGE_CLOSE_CONNECTION, MESSAGE_CLOSE_SESSION, MESSAGE_DRAIN_UNIT, MESSAGE_DRAIN_WRITES,
    MESSAGE_EXPECT, MESSAGE_GO_ON, MESSAGE_HOLD, MESSAGE_PDU, MESSAGE_PROCEED, MESSAGE_REPLY, MESSAGE_WAKE, Message, PduMessage, ProceedMessage,
    ReplyMessage, make_message, post)
from goldherd.wire.opcodes cimport BHS_BYTES


cdef Message* message_of(int kind, size_t struct_bytes, size_t content_bytes = 0) except NULL:
    cdef Message* message
    if content_bytes > <uint32_t>0xFFFFFF00:
        raise ValueError(f"a message of {content_bytes} bytes is too long")
    message = make_message(kind, struct_bytes, content_bytes)
    if message == NULL:
        raise MemoryError
    return message


cdef UnitState* state_of(HotUnit unit) except NULL:
    return &unit.state


@cython.no_gc_clear     # the core may point into units and events until it is closed
cdef class ReactorControl:
    """The messages that Python sends to a reactor; not used by itself.

    Args:
        number: for logs and names.
        events: the queue of events for the control plane.
    """

    def __cinit__(self, int number, EventQueue events not None) -> None:
        self.number = number
        self.events = events
        self.units = {}
        open_core(&self.core)
        self.core.events = &events.queue
        self.core.ping_ms = PING_SECONDS * 1000
        self.core.silence_ms = SILENCE_SECONDS * 1000
        listen(&self.core.listener)

    def __dealloc__(self) -> None:
        if self.core.batch != NULL:
            unlisten(&self.core.listener)
            close_core(&self.core)

    def set_ping_times(self, ping_seconds: float, silence_seconds: float) -> None:
        """After how much silence a NOP-In is sent, and after how much a session that has answered one before is closed;
        call it before sessions are attached."""
        self.core.ping_ms = <uint64_t>(ping_seconds * 1000)
        self.core.silence_ms = <uint64_t>(max(silence_seconds, ping_seconds) * 1000)

    def set_full_disk_hold(self, seconds: float) -> None:
        """How long writes of a full disk wait for space; 0: not at all. Call it before sessions are attached."""
        self.core.full_hold_ms = <uint64_t>(seconds * 1000)

    # --- messages from Python ---

    def attach(self, session_id: int, fd: int, exp_cmd_sn: int, stat_sn: int, parameters: object, luns: dict | None,
               residual: bytes = b"", connection: int = 0, reinstates: bool = False) -> None:
        """Takes over a connection that has finished its login; the descriptor belongs to the reactor from now on.

        Args:
            session_id: the session's id in the control plane; never reused.
            fd: the socket, non-blocking.
            exp_cmd_sn: the CmdSN of the first command to come; says nothing when the connection joins a session.
            stat_sn: the number of our next status.
            parameters: what the login negotiated (model.parameters.Parameters).
            luns: LUN -> HotNexus; None: the connection joins the session of that id. If that has ended, the connection
                ends too, and a ClosedEvent says so.
            residual: bytes already received behind the login.
            connection: the connection's number within its session; never reused either.
            reinstates: it replaces one that was closed with `reinstated` (RFC 7143 6.3.4).

        Raises: ValueError for what no login may have agreed on; the descriptor is still the caller's then.
        """
        cdef uint32_t count = max(luns) + 1 if luns else 0
        cdef AttachMessage* message
        cdef HotNexus nexus
        if count > LUNS_MAX:
            raise ValueError(f"LUN {count - 1} is above the limit of {LUNS_MAX - 1}")
        if len(residual) > RECEIVE_BYTES:
            raise ValueError(f"{len(residual)} bytes behind a login are more than one receive brings")
        if parameters.max_send_data_segment < SECTOR_BYTES or parameters.max_burst < SECTOR_BYTES:
            raise ValueError(f"a data segment or burst below {SECTOR_BYTES} bytes can't carry a sector")
        if parameters.max_recv_data_segment > DATA_SEGMENT_BYTES_MAX:
            raise ValueError(f"a data segment above {DATA_SEGMENT_BYTES_MAX} bytes finds no room here")
        for nexus in (luns or {}).values():
            if nexus is None:
                raise ValueError("a LUN without its nexus")
        message = <AttachMessage*>message_of(MESSAGE_ATTACH, sizeof(AttachMessage) + count * sizeof(NexusState*),
                                             len(residual))
        message.session_id = session_id
        message.connection = connection
        message.fd = fd
        message.joins = luns is None
        message.reinstates = reinstates
        message.initial_r2t = parameters.initial_r2t
        message.immediate_data = parameters.immediate_data
        message.header_digest = parameters.header_digest
        message.data_digest = parameters.data_digest
        message.exp_cmd_sn = exp_cmd_sn
        message.stat_sn = stat_sn
        message.max_send_segment = parameters.max_send_data_segment
        message.max_receive_segment = parameters.max_recv_data_segment
        message.max_burst = parameters.max_burst
        message.first_burst = parameters.first_burst
        message.residual_bytes = len(residual)
        message.lun_count = count
        for lun, nexus in (luns or {}).items():
            message.luns[<int>lun] = &nexus.state
        memcpy(&message.luns[count], <const char*>residual, len(residual))
        if luns is not None:
            self.units[session_id] = tuple(luns.values())
        post(&self.core.messages, &message.head)

    def forget(self, session_id: int) -> None:
        """Releases what the session used; call it when its last ClosedEvent has come."""
        self.units.pop(session_id, None)

    def reply(self, session_id: int, tag: int, status: int, sense: bytes, data_in: bytes, written: int | None = None) -> None:
        """The outcome of a CommandEvent or FailedEvent.

        `written`: for a command with Data-Out, the bytes its command block asked for (the residual's base).
        """
        cdef ReplyMessage* message
        if len(sense) > SENSE_BYTES_MAX:
            raise ValueError(f"{len(sense)} bytes of sense data are more than the target says it makes")
        message = <ReplyMessage*>message_of(MESSAGE_REPLY, sizeof(ReplyMessage), len(sense) + len(data_in))
        message.session_id = session_id
        message.tag = tag
        message.status = status
        message.sense_bytes = len(sense)
        message.takes_data_out = written is not None
        message.written = 0 if written is None else min(written, 0xFFFFFFFF)
        message.data_bytes = len(data_in)
        memcpy(message.content, <const char*>sense, len(sense))
        memcpy(message.content + len(sense), <const char*>data_in, len(data_in))
        post(&self.core.messages, &message.head)

    def proceed(self, session_id: int, tag: int) -> None:
        """In place of a reply: the read of a CommandEvent may be served from the image."""
        cdef ProceedMessage* message = <ProceedMessage*>message_of(MESSAGE_PROCEED, sizeof(ProceedMessage))
        message.session_id = session_id
        message.tag = tag
        post(&self.core.messages, &message.head)

    def send_pdu(self, session_id: int, pdu: bytes, flags: int, tag: int = <uint32_t>NO_TASK, max_send_segment: int = 0,
                 connection: int = <uint32_t>ANY_CONNECTION) -> None:
        """Sends a PDU (48 bytes of header and the data segment); the reactor fills StatSN, ExpCmdSN, MaxCmdSN.

        `flags` are PduFlag bits. `tag` settles the RequestEvent it answers; empty `pdu` settles it without an answer.
        `max_send_segment`: the initiator has declared its MaxRecvDataSegmentLength anew. `connection`: its number, if the
        PDU answers nothing.
        """
        cdef PduMessage* message
        length = int.from_bytes(pdu[5:8])
        if pdu and (len(pdu) < BHS_BYTES + length or pdu[4] or length > EMIT_BYTES_MAX):
            raise ValueError(f"{len(pdu)} bytes are not a header and a data segment of {length} bytes")
        if 0 < max_send_segment < SECTOR_BYTES:
            raise ValueError(f"a data segment of {max_send_segment} bytes can't carry a sector")
        message = <PduMessage*>message_of(MESSAGE_PDU, sizeof(PduMessage), len(pdu))
        message.session_id = session_id
        message.connection = connection
        message.tag = tag
        message.max_send_segment = max_send_segment
        message.flags = flags
        message.pdu_bytes = len(pdu)
        memcpy(message.pdu, <const char*>pdu, len(pdu))
        post(&self.core.messages, &message.head)

    def close_session(self, session_id: int) -> None:
        """Drops the session's connections; their ClosedEvents follow."""
        cdef CloseSessionMessage* message
        message = <CloseSessionMessage*>message_of(MESSAGE_CLOSE_SESSION, sizeof(CloseSessionMessage))
        message.session_id = session_id
        post(&self.core.messages, &message.head)

    def close_connection(self, session_id: int, connection: int, reinstated: bool = False) -> None:
        """Drops one connection of a session; its ClosedEvent follows. The session goes on, with `reinstated` even without
        another connection: attach() must bring the one that replaces it, or close_session() end the session."""
        cdef CloseConnectionMessage* message
        message = <CloseConnectionMessage*>message_of(MESSAGE_CLOSE_CONNECTION, sizeof(CloseConnectionMessage))
        message.session_id = session_id
        message.connection = connection
        message.reinstated = reinstated
        post(&self.core.messages, &message.head)

    def expect_connection(self, request_id: int, session_id: int) -> None:
        """A connection is about to join the session; a NumberedEvent follows: where its numbering stands."""
        cdef ExpectMessage* message = <ExpectMessage*>message_of(MESSAGE_EXPECT, sizeof(ExpectMessage))
        message.request_id = request_id
        message.session_id = session_id
        post(&self.core.messages, &message.head)

    def wake(self) -> None:
        """Makes the reactor look at its suspended tasks."""
        post(&self.core.messages, message_of(MESSAGE_WAKE, sizeof(Message)))

    def drain(self, request_id: int, unit: HotUnit) -> None:
        """A DoneEvent follows when no job of this reactor works on the unit; quiesce the unit before."""
        cdef DrainUnitMessage* message = <DrainUnitMessage*>message_of(MESSAGE_DRAIN_UNIT, sizeof(DrainUnitMessage))
        message.request_id = request_id
        message.unit = state_of(unit)
        post(&self.core.messages, &message.head)

    def drain_writes(self, request_id: int, session_id: int) -> None:
        """A DoneEvent follows when no job of the session can change a disk any more; close it before."""
        cdef DrainWritesMessage* message
        message = <DrainWritesMessage*>message_of(MESSAGE_DRAIN_WRITES, sizeof(DrainWritesMessage))
        message.request_id = request_id
        message.session_id = session_id
        post(&self.core.messages, &message.head)

    def hold(self, request_id: int) -> None:
        """Serves no connection from now on: nothing is received, begun or sent. A DoneEvent follows when nothing is under
        way any more on another thread or in the control plane."""
        cdef HoldMessage* message = <HoldMessage*>message_of(MESSAGE_HOLD, sizeof(HoldMessage))
        message.request_id = request_id
        post(&self.core.messages, &message.head)

    def go_on(self) -> None:
        """Ends a hold()."""
        post(&self.core.messages, message_of(MESSAGE_GO_ON, sizeof(Message)))

    def abort_task(self, request_id: int, session_id: int, itt: int, ref_cmd_sn: int = 0, cmd_sn: int = 0) -> None:
        """Ends one task of a session; a DoneEvent follows when nothing of it can reach the disk any more.

        A task that has not come, but could still, counts as found: `ref_cmd_sn` is the number that will not come any
        more, `cmd_sn` that of the request.
        """
        cdef AbortTaskMessage* message = <AbortTaskMessage*>message_of(MESSAGE_ABORT_TASK, sizeof(AbortTaskMessage))
        message.request_id = request_id
        message.session_id = session_id
        message.itt = itt
        message.ref_cmd_sn = ref_cmd_sn
        message.cmd_sn = cmd_sn
        post(&self.core.messages, &message.head)

    def abort_session_tasks(self, request_id: int, session_id: int, unit: HotUnit | None, serial: int = 0,
                            cmd_sn: int | None = None) -> None:
        """Ends a session's tasks on a unit (None: on all); a DoneEvent follows.

        With `serial` only the tasks up to that one, and with `cmd_sn` only commands numbered before that.
        """
        cdef AbortSessionMessage* message
        message = <AbortSessionMessage*>message_of(MESSAGE_ABORT_SESSION, sizeof(AbortSessionMessage))
        message.request_id = request_id
        message.session_id = session_id
        message.unit = NULL if unit is None else state_of(unit)
        message.serial = serial
        message.numbered = cmd_sn is not None
        message.cmd_sn = cmd_sn or 0
        post(&self.core.messages, &message.head)

    def abort_unit_tasks(self, request_id: int, unit: HotUnit) -> None:
        """Ends all tasks of all sessions on a unit; a DoneEvent follows."""
        cdef AbortUnitMessage* message = <AbortUnitMessage*>message_of(MESSAGE_ABORT_UNIT, sizeof(AbortUnitMessage))
        message.request_id = request_id
        message.unit = state_of(unit)
        post(&self.core.messages, &message.head)

    # --- meters ---

    @property
    def sessions(self) -> int:
        return self.core.connection_count

    def counters(self) -> dict:
        """Counts since the start, read while the reactor runs: each is true, together they may be a little apart."""
        return dict(self.core.counters)

    def slow_steps(self) -> dict:
        """Steps above SLOW_STEP_MILLISECONDS since the start: what took most of them -> (how many, the longest in
        milliseconds); read while the reactor runs, as counters() is."""
        cdef StepTimes* times = &self.core.times
        found = {work: (load64(&times.slow[<int>work]), load32(&times.longest_ms[<int>work])) for work in StepWork}
        return {work: (steps, longest_ms) for work, (steps, longest_ms) in found.items() if steps}
