"""A reactor without its sockets: the letters Python writes to it, and the steps that all drivers share.

Start reading at the letters; epoll.pyx drives this with sockets, feed.pyx with bytes.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from goldherd.block.pool cimport listen, python_pool, storage_pool, unlisten
from goldherd.native.limits cimport (
    DATA_SEGMENT_BYTES_MAX, EMIT_BYTES_MAX, GAP_SECONDS, LUNS_MAX, PING_SECONDS, RECEIVE_BYTES, SECTOR_BYTES,
    SEND_STUCK_SECONDS, SILENCE_SECONDS)
from goldherd.session.core cimport (
    ABORT_NEXUS, ABORT_ONE, ABORT_UNIT, CLOSE_ALONE, CLOSE_GAP, CLOSE_LOGOUT, CLOSE_PEER, CLOSE_SILENT, CLOSE_STUCK)
from goldherd.reactor.commands_in cimport Attachment, act
from goldherd.session.messages cimport (
    LETTER_ABORT, LETTER_ATTACH, LETTER_CLOSE, LETTER_CLOSE_ALONE, LETTER_FENCE, LETTER_EXPECT, LETTER_PDU,
    LETTER_PROCEED, LETTER_REPLY, LETTER_WAKE, Letter, collect, make_letter, post)
from goldherd.session.emit cimport emit_nop_in
from goldherd.session.backlog cimport clear_batch, drop_pending
from goldherd.session.pools cimport close_core, leave_session, open_core, run_soon, stop_running
from goldherd.session.tasks cimport end_connection, unpark
from goldherd.session.service cimport TURN_AGAIN, TURN_BLOCKED, TURN_HELD, TURN_OVER, take_turn
from goldherd.scsi.unit cimport HotNexus, HotUnit, NexusState
from goldherd.wire.opcodes cimport BHS_BYTES, RESERVED_TAG

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int)

cdef enum:
    SENSE_BYTES_MAX = 252       # SPC-4 4.5.1


cdef Letter* letter_of(int kind, size_t payload_bytes) except NULL:
    cdef Letter* letter
    if payload_bytes > <uint32_t>0xFFFFFF00:
        raise ValueError(f"a letter of {payload_bytes} bytes is too long")
    letter = make_letter(kind, <uint32_t>payload_bytes)
    if letter == NULL:
        raise MemoryError
    return letter


@cython.no_gc_clear     # the core may point into units and outbox until it is buried
cdef class Desk:
    """The letters Python writes to a reactor.

    Args:
        number: for logs and names.
        outbox: where it writes to the control plane.
    """

    def __cinit__(self, int number, Outbox outbox not None) -> None:
        self.number = number
        self.outbox = outbox
        self.units = {}
        open_core(&self.core)
        self.storage = storage_pool()
        self.python = python_pool()
        self.core.storage = <void*>self.storage
        self.core.python = <void*>self.python
        self.core.outbox = &outbox.box
        self.core.ping_ms = PING_SECONDS * 1000
        self.core.silence_ms = SILENCE_SECONDS * 1000
        listen(&self.core.listener)

    def __dealloc__(self) -> None:
        if self.core.batch != NULL:
            with nogil:
                self.bury()
            unlisten(&self.core.listener)
            close_core(&self.core)

    def pace(self, ping_seconds: float, silence_seconds: float) -> None:
        """After how much silence a NOP-In is sent, and after how much a session that has answered one before is let
        go; to be called before sessions are attached."""
        self.core.ping_ms = <uint64_t>(ping_seconds * 1000)
        self.core.silence_ms = <uint64_t>(max(silence_seconds, ping_seconds) * 1000)

    # --- letters from Python ---

    def attach(self, token: int, fd: int, exp_cmd_sn: int, stat_sn: int, parameters: object, luns: dict | None,
               residual: bytes = b"", link: int = 0, takes_kept: bool = False) -> None:
        """Takes over a connection that has finished its login; the descriptor belongs to the reactor from now on.

        Args:
            token: the session's number in the control plane; never reused.
            fd: the socket, non-blocking.
            exp_cmd_sn: the CmdSN of the first command to come; says nothing when the connection joins a session.
            stat_sn: the number of our next status.
            parameters: what the login negotiated (session.keys.Parameters).
            luns: LUN -> HotNexus; None: the connection joins the session of that token. If that has ended, the
                connection ends too, and a ClosedLetter says so.
            residual: bytes already received behind the login.
            link: the connection's number within its session; never reused either.
            takes_kept: it takes the place that close_connection() kept.

        Raises: ValueError for what no login may have agreed on; the descriptor is still the caller's then.
        """
        cdef uint32_t count = max(luns) + 1 if luns else 0
        cdef Letter* letter
        cdef Attachment* given
        cdef NexusState** places
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
        letter = letter_of(LETTER_ATTACH, sizeof(Attachment) + count * sizeof(NexusState*) + len(residual))
        letter.token = token
        letter.link = link
        given = <Attachment*>letter.payload
        memset(given, 0, sizeof(Attachment) + count * sizeof(NexusState*))
        given.fd = fd
        given.joins = luns is None
        given.takes_kept = takes_kept
        given.exp_cmd_sn = exp_cmd_sn
        given.stat_sn = stat_sn
        given.max_send_segment = parameters.max_send_data_segment
        given.max_receive_segment = parameters.max_recv_data_segment
        given.max_burst = parameters.max_burst
        given.first_burst = parameters.first_burst
        given.initial_r2t = parameters.initial_r2t
        given.immediate_data = parameters.immediate_data
        given.header_digest = parameters.header_digest
        given.data_digest = parameters.data_digest
        given.lun_count = count
        given.residual_bytes = len(residual)
        places = <NexusState**>(letter.payload + sizeof(Attachment))
        for lun, nexus in (luns or {}).items():
            places[<int>lun] = &nexus.state
        memcpy(<char*>(places + count), <const char*>residual, len(residual))
        if luns is not None:
            self.units[token] = tuple(luns.values())
        post(&self.core.inbox, letter)

    def forget(self, token: int) -> None:
        """Lets go of what the session used; call it when its last ClosedLetter has come."""
        self.units.pop(token, None)

    def reply(self, token: int, tag: int, status: int, sense: bytes, data_in: bytes, written: int | None = None) -> None:
        """The outcome of a CommandLetter or FailedLetter.

        `written`: for a command with Data-Out, the bytes its command block asked for (the residual's base).
        """
        cdef Letter* letter
        if len(sense) > SENSE_BYTES_MAX:
            raise ValueError(f"{len(sense)} bytes of sense data are more than SPC-4 knows")
        letter = letter_of(LETTER_REPLY, len(sense) + len(data_in))
        letter.token = token
        letter.tag = tag
        letter.status = status
        letter.sense_bytes = len(sense)
        if written is not None:
            letter.number = 1
            letter.value = min(written, 0xFFFFFFFF)
        memcpy(letter.payload, <const char*>sense, len(sense))
        memcpy(letter.payload + len(sense), <const char*>data_in, len(data_in))
        post(&self.core.inbox, letter)

    def proceed(self, token: int, tag: int) -> None:
        """In place of a reply: the read of a CommandLetter may be served from the image."""
        cdef Letter* letter = letter_of(LETTER_PROCEED, 0)
        letter.token = token
        letter.tag = tag
        post(&self.core.inbox, letter)

    def send_pdu(self, token: int, pdu: bytes, flags: int, tag: int = 0xFFFFFFFF, max_send_segment: int = 0,
                 link: int = 0xFFFFFFFF) -> None:
        """Sends a PDU (48 bytes of header and the data segment); the reactor fills StatSN, ExpCmdSN, MaxCmdSN.

        `tag` settles the RequestLetter it answers; empty `pdu` settles it without an answer. `max_send_segment`: the
        initiator has declared its MaxRecvDataSegmentLength anew. `link`: the connection, if it answers nothing.
        """
        cdef Letter* letter
        length = int.from_bytes(pdu[5:8])
        if pdu and (len(pdu) < BHS_BYTES + length or pdu[4] or length > EMIT_BYTES_MAX):
            raise ValueError(f"{len(pdu)} bytes are not a header and a data segment of {length} bytes")
        if 0 < max_send_segment < SECTOR_BYTES:
            raise ValueError(f"a data segment of {max_send_segment} bytes can't carry a sector")
        letter = letter_of(LETTER_PDU, len(pdu))
        letter.token = token
        letter.tag = tag
        letter.link = link
        letter.number = flags
        letter.value = max_send_segment
        memcpy(letter.payload, <const char*>pdu, len(pdu))
        post(&self.core.inbox, letter)

    def close_session(self, token: int) -> None:
        """Drops the session's connections; their ClosedLetters follow."""
        self._post(LETTER_CLOSE, token)

    def close_connection(self, token: int, link: int, keep: bool = False) -> None:
        """Drops one connection of a session; its ClosedLetter follows. The session goes on, with `keep` even without
        another connection: attach() must bring the one that takes the place, or close_session() end it."""
        cdef Letter* letter = letter_of(LETTER_CLOSE_ALONE, 0)
        letter.token = token
        letter.link = link
        letter.number = keep
        post(&self.core.inbox, letter)

    def expect_connection(self, fence: int, token: int) -> None:
        """A connection is about to join the session; a NumberedLetter follows: where its numbering stands."""
        cdef Letter* letter = letter_of(LETTER_EXPECT, 0)
        letter.token = token
        letter.serial = fence
        post(&self.core.inbox, letter)

    def wake(self) -> None:
        """Makes it look at its parked tasks."""
        self._post(LETTER_WAKE, 0)

    def fence(self, fence: int, unit: HotUnit) -> None:
        """A DoneLetter follows when no job of this reactor works on the unit; hold the unit before."""
        cdef Letter* letter = letter_of(LETTER_FENCE, 0)
        letter.serial = fence
        letter.place = &(<HotUnit?>unit).state
        post(&self.core.inbox, letter)

    def fence_writes(self, fence: int, token: int) -> None:
        """A DoneLetter follows when no job of the session can change a disk any more; close it before."""
        cdef Letter* letter = letter_of(LETTER_FENCE, 0)
        letter.serial = fence
        letter.token = token
        post(&self.core.inbox, letter)

    def abort_task(self, fence: int, token: int, itt: int, ref_cmd_sn: int = 0, cmd_sn: int = 0) -> None:
        """Ends one task of a session; a DoneLetter follows when nothing of it can reach the disk any more.

        A task that has not come, but could still, counts as found: `ref_cmd_sn` is the number that will not come any
        more, `cmd_sn` that of the request.
        """
        self._abort(fence, token, ABORT_ONE, None, itt, 0, cmd_sn, ref_cmd_sn)

    def abort_session_tasks(self, fence: int, token: int, unit: HotUnit | None, serial: int = 0,
                            cmd_sn: int | None = None) -> None:
        """Ends a session's tasks on a unit (None: on all); a DoneLetter follows.

        With `serial` only those that came before it, and with `cmd_sn` only those numbered before that.
        """
        self._abort(fence, token, ABORT_NEXUS, unit, 0, serial, cmd_sn)

    def abort_unit_tasks(self, fence: int, unit: HotUnit) -> None:
        """Ends all tasks of all sessions on a unit; a DoneLetter follows."""
        self._abort(fence, 0, ABORT_UNIT, unit, 0, 0)

    def _abort(self, fence: int, token: int, scope: int, unit: HotUnit | None, itt: int, serial: int,
               cmd_sn: int | None = None, ref_cmd_sn: int = 0) -> None:
        cdef Letter* letter = letter_of(LETTER_ABORT, 0)
        letter.serial = fence
        letter.token = token
        letter.number = scope
        letter.itt = itt
        letter.tag = serial & 0xFFFFFFFF
        letter.numbered = cmd_sn is not None
        letter.cmd_sn = cmd_sn or 0
        letter.value = ref_cmd_sn
        if unit is not None:
            letter.place = &(<HotUnit?>unit).state
        post(&self.core.inbox, letter)

    def _post(self, kind: int, token: int) -> None:
        cdef Letter* letter = letter_of(kind, 0)
        letter.token = token
        post(&self.core.inbox, letter)

    # --- meters ---

    @property
    def sessions(self) -> int:
        return self.core.connection_count

    def counters(self) -> dict:
        """Counts since the start, read while the reactor runs: each is true, together they may be a little apart."""
        return dict(self.core.counters)

    # --- steps ---

    cdef void watch(self, Connection* c, int how) noexcept nogil:
        pass                                # a driver knows what to do

    cdef void end(self, Connection* c, int reason) noexcept nogil:
        """At ErrorRecoveryLevel 0 a session ends with any of its connections (RFC 7143 7.1.4.4), unless that was
        closed alone."""
        cdef Connection* other
        if reason != CLOSE_ALONE and c.session.multiple:
            other = c.session.first
            while other != NULL:
                if other == c or other.closed:
                    other = other.sibling
                    continue
                self.end_one(other, reason)
                other = c.session.first         # the list has changed; c itself keeps the session
        self.end_one(c, reason)

    cdef void end_one(self, Connection* c, int reason) noexcept nogil:
        """Order: the socket closes, what waited for it is dropped, tasks end, Python is told when nothing is in use."""
        self.watch(c, WATCH_END)
        c.fd = -1
        drop_pending(c)
        end_connection(&self.core, c, reason)

    cdef void read_letters(self) noexcept nogil:
        cdef Letter* letter = collect(&self.core.inbox)
        cdef Letter* following
        cdef Connection* c
        cdef bint ends
        while letter != NULL:
            following = letter.next
            c = act(&self.core, letter, &ends)
            if c != NULL and ends:
                self.end(c, c.reason)
            elif c != NULL:
                self.watch(c, WATCH_BEGIN)
            letter = following
        if self.core.parked != NULL:        # the bell shares the eventfd: perhaps a fetch has come
            unpark(&self.core)

    cdef void turn(self, Connection* c, bint readable) noexcept nogil:
        cdef int result = take_turn(&self.core, c, readable)
        cdef bint blocked = result == TURN_BLOCKED
        cdef bint held
        if result == TURN_OVER:
            clear_batch(&self.core)     # or the next connection of this reactor would get what was meant for this one
            self.end(c, c.reason if c.reason else CLOSE_PEER)
            return
        held = not blocked and c.stalled and (c.held or result == TURN_HELD)
        if blocked != c.blocked or held != c.held:
            c.blocked = blocked
            c.held = held
            self.watch(c, WATCH_OUTPUT if blocked else WATCH_NOTHING if held else WATCH_INPUT)
            if not blocked and c.residue_whole:
                run_soon(&self.core, c)
        if result == TURN_AGAIN:
            run_soon(&self.core, c)

    cdef void run_turns(self) noexcept nogil:
        """One turn for every connection that has something to do; whoever joins them meanwhile is next.

        A turn may end other connections, so the list is looked at anew each time.
        """
        cdef Core* core = &self.core
        cdef Connection* c
        cdef uint32_t turns = core.running_count
        while turns and core.running_first != NULL:
            turns -= 1
            c = core.running_first
            stop_running(core, c)
            if not c.closed and not c.blocked and (c.send_first != NULL or c.residue_whole or c.closing):
                self.turn(c, False)

    cdef void do_due(self) noexcept nogil:
        """Once a second: who is silent is pinged, who takes nothing is let go."""
        cdef Core* core = &self.core
        cdef Connection* c
        cdef uint32_t i
        cdef uint64_t idle
        for i in range(core.connection_room):
            c = core.connections[i]
            if c == NULL or c.closed or c.fd < 0:
                continue
            if c.stuck_ms and core.now_ms - c.stuck_ms > SEND_STUCK_SECONDS * 1000:
                self.end(c, CLOSE_STUCK)
                continue
            if c.stalled and core.now_ms - c.stalled_ms > GAP_SECONDS * 1000:
                self.end(c, CLOSE_GAP)
                continue
            idle = core.now_ms - c.input_ms
            if c.ping_waits and c.answers_pings and idle > core.silence_ms:
                self.end(c, CLOSE_SILENT)
            elif idle > core.ping_ms and not c.ping_waits and not c.blocked and c.send_first == NULL:
                c.ping_waits = True
                c.ping_tag += 1
                emit_nop_in(core, c, <uint32_t>RESERVED_TAG, c.ping_tag & <uint32_t>0x7FFFFFFF, NULL, NULL, 0)
                self.turn(c, False)
            elif idle <= core.ping_ms:
                c.ping_waits = False

    cdef void bury(self) noexcept nogil:
        cdef Core* core = &self.core
        cdef Session* session
        cdef uint32_t i
        self.read_letters()
        for i in range(core.connection_room):
            if core.connections[i] != NULL and not core.connections[i].closed:
                self.end(core.connections[i], CLOSE_LOGOUT)
        while core.connection_count:        # their jobs still use buffers of ours
            usleep(1000)
            self.read_letters()
        while core.sessions != NULL:        # a place was kept for a connection that never came
            session = core.sessions
            session.connections = 1
            leave_session(core, session)
