"""The driver of a reactor: sockets and epoll around the core.

A reactor runs on a thread of its own without the GIL (start), or is stepped by the event loop, which watches the
reactor's epoll descriptor (descriptor, step_once): the same code, one thread less.

A turn of a connection: work off what is ready, receive once, act on every whole PDU, send all answers with one
sendmsg. A connection whose socket is full is not read from until it has drained: TCP then slows the peer down.
"""

import threading

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.uio cimport iovec
from posix.unistd cimport close

from goldherd.block.pool cimport begin_step, end_step, listen, python_pool, storage_pool, unlisten
from goldherd.limits cimport (
    BATCH_IOVECS, LUNS_MAX, PING_ANSWER_SECONDS, PING_IDLE_SECONDS, RECEIVE_BYTES, SEND_STUCK_SECONDS, TURN_BYTES_MAX)
from goldherd.reactor.core cimport (
    ABORT_NEXUS, ABORT_ONE, ABORT_UNIT, CLOSE_MEMORY, CLOSE_PEER, CLOSE_SILENT, CLOSE_STUCK, NOBODY)
from goldherd.reactor.input cimport consume, sink_place, sink_received
from goldherd.reactor.letters cimport Attachment, act
from goldherd.reactor.mailbox cimport (
    LETTER_ABORT, LETTER_ATTACH, LETTER_CLOSE, LETTER_FENCE, LETTER_PDU, LETTER_PROCEED, LETTER_REPLY, LETTER_WAKE, Letter, collect,
    make_letter, post)
from goldherd.reactor.output cimport emit_nop_in
from goldherd.reactor.sending cimport clear_batch, drop_pending, keep_residue, keep_rest, pending_sent
from goldherd.reactor.slots cimport close_core, open_core, run_soon, stop_running
from goldherd.reactor.tasks cimport end_connection, pump, unpark
from goldherd.scsi.unit cimport HotNexus, HotUnit, NexusState, UnitState
from goldherd.session.session cimport Connection
from goldherd.wire.opcodes cimport RESERVED_TAG

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint32_t u32
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    ssize_t recv(int fd, void* buffer, size_t length, int flags)
    int MSG_NOSIGNAL, MSG_DONTWAIT

cdef enum:
    EVENTS = 256
    TICK_MS = 1000
    INBOX = 0xFFFFFFFE      # in place of a connection's index

cdef enum Sent:
    SENT_ALL = 0
    SENT_PART = 1
    SENT_NEVER = 2          # the connection is to be closed


cdef uint64_t clock_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000 + <uint64_t>now.tv_nsec / 1000000


cdef ssize_t send_some(int fd, iovec* iov, int count) noexcept nogil:
    """Bytes taken by the socket, 0 when it is full, -1 when it is gone."""
    cdef msghdr message
    cdef ssize_t sent
    memset(&message, 0, sizeof(message))
    message.msg_iov = iov
    message.msg_iovlen = count if count < BATCH_IOVECS else BATCH_IOVECS
    while True:
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent >= 0:
            return sent
        if errno == EINTR:
            continue
        return 0 if errno == EAGAIN else -1


cdef int flush(Core* core, Connection* c) noexcept nogil:
    """Sends the batch; what the socket does not take stays with the connection."""
    cdef uint64_t total = core.batch.bytes
    cdef ssize_t sent
    cdef bint kept
    if total == 0:
        return SENT_ALL
    sent = send_some(c.fd, core.batch.iov, core.batch.count)
    core.counters.sends += 1
    if sent == <ssize_t>total:
        clear_batch(core)
        return SENT_ALL
    if sent < 0:
        clear_batch(core)
        c.reason = CLOSE_PEER
        return SENT_NEVER
    kept = keep_rest(core, c, <uint64_t>sent)
    clear_batch(core)
    if not kept:
        c.reason = CLOSE_MEMORY
        return SENT_NEVER
    c.stuck_ms = core.now_ms
    return SENT_PART


cdef int flush_pending(Core* core, Connection* c) noexcept nogil:
    cdef ssize_t sent
    while c.pending != NULL:
        sent = send_some(c.fd, c.pending.iov + c.pending.first, c.pending.count - c.pending.first)
        core.counters.sends += 1
        if sent < 0:
            c.reason = CLOSE_PEER
            return SENT_NEVER
        if sent == 0:
            return SENT_PART
        c.stuck_ms = core.now_ms
        pending_sent(c, <uint64_t>sent)
    c.stuck_ms = 0
    return SENT_ALL


cdef ssize_t receive(Core* core, Connection* c, uint32_t behind) noexcept nogil:
    """Receives once, into the sink first; returns bytes placed at core.receive + behind, -1 at the end, -2 if none."""
    cdef iovec iov[2]
    cdef msghdr message
    cdef uint8_t* place
    cdef uint32_t room = 0
    cdef ssize_t got
    if c.sink_left:
        sink_place(core, c, &place, &room)
        iov[0].iov_base = place
        iov[0].iov_len = room
        iov[1].iov_base = core.receive + behind
        iov[1].iov_len = RECEIVE_BYTES
        memset(&message, 0, sizeof(message))
        message.msg_iov = iov
        message.msg_iovlen = 2 if room == c.sink_left else 1
        got = recvmsg(c.fd, &message, MSG_DONTWAIT)
    else:
        got = recv(c.fd, core.receive + behind, RECEIVE_BYTES, MSG_DONTWAIT)
    core.counters.receives += 1
    if got > 0:
        if room:
            if <uint32_t>got <= room:
                sink_received(core, c, <uint32_t>got)
                return 0
            sink_received(core, c, room)
            return got - room
        return got
    if got < 0 and (errno == EAGAIN or errno == EINTR):
        return -2
    return -1


cdef enum Turn:
    TURN_IDLE = 0       # wait for the socket to become readable
    TURN_AGAIN = 1      # more to do, after the others
    TURN_BLOCKED = 2    # wait for the socket to become writable
    TURN_OVER = 3       # close it


cdef int leave(Connection* c, const uint8_t* rest, uint32_t length, bint whole, int turn) noexcept nogil:
    if not keep_residue(c, rest, length, whole):
        c.reason = CLOSE_MEMORY
        return TURN_OVER
    return turn


cdef int take_turn(Core* core, Connection* c, bint readable) noexcept nogil:
    cdef uint8_t* here = core.receive
    cdef uint32_t have = c.residue_bytes
    cdef uint64_t sent_bytes = 0
    cdef ssize_t got
    cdef int sent
    cdef bint hungry = not c.residue_whole
    cdef bint full
    cdef uint32_t used
    if c.pending != NULL:
        sent = flush_pending(core, c)
        if sent == SENT_NEVER:
            return TURN_OVER
        if sent == SENT_PART:
            return TURN_BLOCKED
    if have:
        memcpy(here, c.residue, have)
    while True:
        if c.send_first != NULL:
            pump(core, c)
        if not hungry and c.send_first == NULL and not c.closing:
            used = consume(core, c, here, have, &hungry)
            here += used
            have -= used
        full = c.send_first != NULL or not hungry
        if core.batch.bytes and (full or c.closing or not readable):
            sent_bytes += core.batch.bytes
            sent = flush(core, c)
            if sent == SENT_NEVER:
                return TURN_OVER
            if sent == SENT_PART and not c.closing:
                return leave(c, here, have, not hungry, TURN_BLOCKED)
        if c.closing:
            return TURN_OVER
        if full:
            if sent_bytes >= TURN_BYTES_MAX:
                return leave(c, here, have, not hungry, TURN_AGAIN)
            continue
        if not readable:
            return leave(c, here, have, False, TURN_IDLE)
        readable = False            # once per turn: epoll tells when there is more
        if have and here != core.receive:
            memmove(core.receive, here, have)
        here = core.receive
        got = receive(core, c, have)
        if got == -1:
            flush(core, c)          # it may only have stopped sending: what is ready is still worth a try
            c.reason = CLOSE_PEER
            return TURN_OVER
        if got >= 0:
            have += <uint32_t>got
            c.input_ms = core.now_ms
            hungry = False


cdef class Reactor:
    """One reactor: owns the sessions given to it.

    Args:
        number: for logs and names.
        outbox: where it writes to the control plane.
    """

    def __cinit__(self, int number, Outbox outbox not None) -> None:
        cdef epoll_event event
        self.number = number
        self.epoll = -1
        self.outbox = outbox
        self.units = {}
        open_core(&self.core)
        self.storage = storage_pool()
        self.python = python_pool()
        self.core.storage = <void*>self.storage
        self.core.python = <void*>self.python
        self.core.outbox = &outbox.box
        self.core.now_ms = clock_ms()
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError("no epoll descriptor could be opened")
        event.events = EPOLLIN
        event.data.u64 = 0
        event.data.u32 = <uint32_t>INBOX
        epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.core.inbox.eventfd, &event)
        listen(&self.core.listener)

    def __dealloc__(self) -> None:
        if self.core.batch != NULL:
            unlisten(&self.core.listener)
            close_core(&self.core)
        if self.epoll >= 0:
            close(self.epoll)

    # --- running ---

    def start(self) -> None:
        """Runs on a thread of its own until stop()."""
        self.thread = threading.Thread(target=self.run, name=f"reactor-{self.number}", daemon=True)
        self.thread.start()

    def run(self) -> None:
        with nogil:
            while not self.stopping:
                self.step(TICK_MS)

    def stop(self) -> None:
        """Ends the thread; sessions must have been closed before."""
        self.stopping = True
        self.wake()
        if self.thread is not None:
            self.thread.join()
            self.thread = None

    @property
    def descriptor(self) -> int:
        """Readable when step_once() has something to do."""
        return self.epoll

    def step_once(self) -> bool:
        """One step without waiting, for an event loop; True when there is more to do at once."""
        cdef bint more
        with nogil:
            more = self.step(0)
        return more

    cdef bint step(self, int timeout_ms) noexcept nogil:
        cdef epoll_event events[EVENTS]
        cdef Core* core = &self.core
        cdef Connection* c
        cdef Connection* following
        cdef int count
        cdef int i
        cdef uint64_t before = core.now_ms
        if core.running_first != NULL:
            timeout_ms = 0
        count = epoll_wait(self.epoll, events, EVENTS, timeout_ms)
        core.now_ms = clock_ms()
        begin_step(&core.listener)          # cached memory we see from here on stays where it is
        for i in range(count):
            if events[i].data.u32 == <uint32_t>INBOX:
                self.read_letters()
                continue
            c = core.connections[events[i].data.u32] if events[i].data.u32 < core.connection_room else NULL
            if c == NULL or c.closed or c.fd < 0:
                continue
            self.turn(c, events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) != 0)
        c = core.running_first
        core.running_first = core.running_last = NULL
        while c != NULL:
            following = c.next_running
            c.running = False
            c.next_running = NULL
            if not c.closed and not c.blocked and (c.send_first != NULL or c.residue_whole or c.closing):
                self.turn(c, False)
            c = following
        if core.now_ms / TICK_MS != before / TICK_MS:
            self.tick()
        end_step(&core.listener)
        return core.running_first != NULL

    cdef void turn(self, Connection* c, bint readable) noexcept nogil:
        cdef int result = take_turn(&self.core, c, readable)
        cdef bint blocked = result == TURN_BLOCKED
        if result == TURN_OVER:
            clear_batch(&self.core)     # or the next connection of this reactor would get what was meant for this one
            self.end(c, c.reason if c.reason else CLOSE_PEER)
            return
        if blocked != c.blocked:
            c.blocked = blocked
            self.watch_socket(c.fd, c.index, EPOLL_CTL_MOD, EPOLLOUT if blocked else EPOLLIN)
            if not blocked and c.residue_whole:
                run_soon(&self.core, c)
        if result == TURN_AGAIN:
            run_soon(&self.core, c)

    cdef void watch_socket(self, int fd, uint32_t index, int operation, uint32_t events) noexcept nogil:
        cdef epoll_event event
        event.events = events
        event.data.u64 = 0
        event.data.u32 = index
        epoll_ctl(self.epoll, operation, fd, &event)

    cdef void end(self, Connection* c, int reason) noexcept nogil:
        """Order: epoll forgets the socket, tasks end, the socket closes, Python is told when nothing is in use."""
        cdef int fd = c.fd
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, fd, NULL)
        c.fd = -1
        drop_pending(c)
        end_connection(&self.core, c, reason)
        close(fd)

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
                self.watch_socket(c.fd, c.index, EPOLL_CTL_ADD, EPOLLIN)
            letter = following
        if self.core.parked != NULL:        # the bell shares the eventfd: perhaps a fetch has come
            unpark(&self.core)

    cdef void tick(self) noexcept nogil:
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
            idle = core.now_ms - c.input_ms
            if c.ping_waits and c.answers_pings and idle > (PING_IDLE_SECONDS + PING_ANSWER_SECONDS) * 1000:
                self.end(c, CLOSE_SILENT)
            elif idle > PING_IDLE_SECONDS * 1000 and not c.ping_waits and not c.blocked and c.send_first == NULL:
                c.ping_waits = True
                c.ping_tag += 1
                emit_nop_in(core, c, <uint32_t>RESERVED_TAG, c.ping_tag & <uint32_t>0x7FFFFFFF, NULL, NULL, 0)
                self.turn(c, False)
            elif idle <= PING_IDLE_SECONDS * 1000:
                c.ping_waits = False

    # --- letters from Python ---

    def attach(self, token: int, fd: int, exp_cmd_sn: int, stat_sn: int, parameters: object, luns: dict,
               residual: bytes = b"") -> None:
        """Takes over a connection that has finished its login; the descriptor belongs to the reactor from now on.

        Args:
            token: the session's number in the control plane; never reused.
            fd: the socket, non-blocking.
            exp_cmd_sn: the CmdSN of the first command to come.
            stat_sn: the number of our next status.
            parameters: what the login negotiated (session.keys.Parameters).
            luns: LUN -> HotNexus.
            residual: bytes already received behind the login.
        """
        cdef uint32_t count = max(luns) + 1 if luns else 0
        cdef Letter* letter
        cdef Attachment* given
        cdef NexusState** places
        cdef HotNexus nexus
        if count > LUNS_MAX:
            raise ValueError(f"LUN {count - 1} is above the limit of {LUNS_MAX - 1}")
        letter = make_letter(LETTER_ATTACH, sizeof(Attachment) + count * sizeof(NexusState*) + len(residual))
        if letter == NULL:
            raise MemoryError
        letter.token = token
        given = <Attachment*>letter.payload
        memset(given, 0, sizeof(Attachment) + count * sizeof(NexusState*))
        given.fd = fd
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
        for lun, nexus in luns.items():
            places[<int>lun] = &nexus.state
        memcpy(<char*>(places + count), <const char*>residual, len(residual))
        self.units[token] = tuple(luns.values())
        post(&self.core.inbox, letter)

    def forget(self, token: int) -> None:
        """Lets go of what the session used; call it when its ClosedLetter has come."""
        self.units.pop(token, None)

    def reply(self, token: int, tag: int, status: int, sense: bytes, data_in: bytes, written: int | None = None) -> None:
        """The outcome of a CommandLetter or FailedLetter.

        `written`: for a command with Data-Out, the bytes its command block asked for (the residual's base).
        """
        cdef Letter* letter = make_letter(LETTER_REPLY, len(sense) + len(data_in))
        if letter == NULL:
            raise MemoryError
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
        cdef Letter* letter = make_letter(LETTER_PROCEED, 0)
        if letter == NULL:
            raise MemoryError
        letter.token = token
        letter.tag = tag
        post(&self.core.inbox, letter)

    def send_pdu(self, token: int, pdu: bytes, flags: int, tag: int = 0xFFFFFFFF, max_send_segment: int = 0) -> None:
        """Sends a PDU (48 bytes of header and the data segment, unpadded); the reactor fills StatSN, ExpCmdSN, MaxCmdSN.

        `tag` settles the RequestLetter it answers; empty `pdu` settles it without an answer.
        """
        cdef Letter* letter = make_letter(LETTER_PDU, len(pdu))
        if letter == NULL:
            raise MemoryError
        letter.token = token
        letter.tag = tag
        letter.number = flags
        letter.value = max_send_segment
        memcpy(letter.payload, <const char*>pdu, len(pdu))
        post(&self.core.inbox, letter)

    def close_session(self, token: int) -> None:
        """Drops the session's connection; its ClosedLetter follows."""
        self._post(LETTER_CLOSE, token)

    def wake(self) -> None:
        """Makes it look at its parked tasks."""
        self._post(LETTER_WAKE, 0)

    def fence(self, fence: int, unit: HotUnit) -> None:
        """A DoneLetter follows when no job of this reactor works on the unit; hold the unit before."""
        cdef Letter* letter = make_letter(LETTER_FENCE, 0)
        if letter == NULL:
            raise MemoryError
        letter.serial = fence
        letter.place = &(<HotUnit?>unit).state
        post(&self.core.inbox, letter)

    def abort_task(self, fence: int, token: int, itt: int) -> None:
        """Ends one task of a session; a DoneLetter follows when nothing of it can reach the disk any more."""
        self._abort(fence, token, ABORT_ONE, None, itt, 0)

    def abort_session_tasks(self, fence: int, token: int, unit: HotUnit | None, serial: int = 0) -> None:
        """Ends a session's tasks on a unit (None: on all), those up to `serial` if given; a DoneLetter follows."""
        self._abort(fence, token, ABORT_NEXUS, unit, 0, serial)

    def abort_unit_tasks(self, fence: int, unit: HotUnit, serial: int = 0) -> None:
        """Ends all tasks of all sessions on a unit; a DoneLetter follows."""
        self._abort(fence, 0, ABORT_UNIT, unit, 0, serial)

    def _abort(self, fence: int, token: int, scope: int, unit: HotUnit | None, itt: int, serial: int) -> None:
        cdef Letter* letter = make_letter(LETTER_ABORT, 0)
        if letter == NULL:
            raise MemoryError
        letter.serial = fence
        letter.token = token
        letter.number = scope
        letter.itt = itt
        letter.tag = serial & 0xFFFFFFFF
        if unit is not None:
            letter.place = &(<HotUnit?>unit).state
        post(&self.core.inbox, letter)

    def _post(self, kind: int, token: int) -> None:
        cdef Letter* letter = make_letter(kind, 0)
        if letter == NULL:
            raise MemoryError
        letter.token = token
        post(&self.core.inbox, letter)

    # --- meters ---

    @property
    def sessions(self) -> int:
        return self.core.connection_count

    def counters(self) -> dict:
        """Counts since the start, read while the reactor runs: each is true, together they may be a little apart."""
        return dict(self.core.counters)
