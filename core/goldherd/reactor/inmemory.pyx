"""The core driven with bytes instead of sockets: what tests, fuzzers and benchmarks talk to.

Every connection has a wire: bytes on their way in, bytes that came out, and how many more the far end takes before it
is full. Nothing happens by itself: a step is made by receive(), step() or tick(), on the caller's thread.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove
from posix.uio cimport iovec

from goldherd.block.pool cimport Job, Pool, begin_step, end_step
from goldherd.session.core cimport Core, WIRE_LATER, WIRE_OVER
from goldherd.reactor.loop cimport WATCH_END, Desk
from goldherd.reactor.events_out cimport Outbox
from goldherd.session.state cimport Connection, Session, Task

cdef enum:
    FIRST_DESCRIPTOR = 0x40000000   # numbers no open file has; wire i is descriptor FIRST_DESCRIPTOR + i
    START_MS = 1000000              # the clock before the first tick

cdef struct Wire:
    uint8_t* input          # not yet received by the core: input_bytes from input_first on
    uint64_t input_first
    uint64_t input_bytes
    uint64_t input_room
    uint8_t* output         # sent by the core, not yet collected
    uint64_t output_bytes
    uint64_t output_room
    uint64_t takes          # bytes the far end still takes
    bint ended              # the far end has closed
    bint closed             # the core has closed
    bint broken             # out of memory: bytes are missing


cdef bint append(uint8_t** buffer, uint64_t* used, uint64_t* room, const void* more, uint64_t length) noexcept nogil:
    cdef uint8_t* larger
    cdef uint64_t wanted = used[0] + length
    if wanted > room[0]:
        wanted += wanted / 2
        larger = <uint8_t*>realloc(buffer[0], wanted)
        if larger == NULL:
            return False
        buffer[0] = larger
        room[0] = wanted
    if length:
        memcpy(buffer[0] + used[0], more, length)
    used[0] += length
    return True


cdef inline Wire* wire_of(Core* core, Connection* c) noexcept nogil:
    return (<Wire**>core.driver)[c.fd - FIRST_DESCRIPTOR]


cdef ssize_t send_to_wire(Core* core, Connection* c, iovec* iov, int count) noexcept nogil:
    cdef Wire* wire = wire_of(core, c)
    cdef uint64_t total = 0
    cdef uint64_t part
    cdef int i
    if wire.ended:
        return WIRE_OVER
    for i in range(count):
        part = iov[i].iov_len if iov[i].iov_len < wire.takes else wire.takes
        if not append(&wire.output, &wire.output_bytes, &wire.output_room, iov[i].iov_base, part):
            wire.broken = True
            return WIRE_OVER
        wire.takes -= part
        total += part
        if part < iov[i].iov_len:
            break
    return <ssize_t>total


cdef ssize_t receive_from_wire(Core* core, Connection* c, iovec* iov, int count) noexcept nogil:
    cdef Wire* wire = wire_of(core, c)
    cdef uint64_t total = 0
    cdef uint64_t part
    cdef int i
    if wire.input_bytes == 0:
        return WIRE_OVER if wire.ended else WIRE_LATER
    for i in range(count):
        part = iov[i].iov_len if iov[i].iov_len < wire.input_bytes else wire.input_bytes
        memcpy(iov[i].iov_base, wire.input + wire.input_first, part)
        wire.input_first += part
        wire.input_bytes -= part
        total += part
    return <ssize_t>total


cdef class HeldPool(Pool):
    """A pool without threads: its jobs wait until somebody says which one is done next."""

    def __cinit__(self, str name, int thread_count) -> None:
        self.first = NULL

    cdef void submit(self, Job* job) noexcept nogil:
        cdef Job** place = &self.first
        while place[0] != NULL:
            place = &place[0].next
        job.next = NULL
        place[0] = job

    cdef int count(self) noexcept nogil:
        cdef Job* job = self.first
        cdef int jobs = 0
        while job != NULL:
            jobs += 1
            job = job.next
        return jobs

    cdef void finish(self, int number) noexcept nogil:
        cdef Job** place = &self.first
        cdef Job* job
        while number:
            place = &place[0].next
            number -= 1
        job = place[0]
        place[0] = job.next
        job.run(job)


@cython.no_gc_clear
cdef class Feed(Desk):
    """A reactor without sockets; all its sessions are spoken to through receive().

    Args:
        number: for names.
        outbox: what it tells the control plane.
    """

    def __cinit__(self, int number, Outbox outbox not None) -> None:
        self.core.send_some = send_to_wire
        self.core.receive_some = receive_from_wire
        self.core.now_ms = START_MS
        self.numbers = {}

    def __dealloc__(self) -> None:
        cdef uint32_t i
        while self.held_jobs is not None and self.held_jobs.count():
            self.held_jobs.finish(0)
        if self.core.batch != NULL:
            with nogil:
                self.bury()         # while the wires are still there
        for i in range(self.wire_count):
            free(self.wires[i].input)
            free(self.wires[i].output)
            free(self.wires[i])
        free(self.wires)

    # --- what a test does ---

    def attach(self, token: int, fd: int, exp_cmd_sn: int, stat_sn: int, parameters: object, luns: dict | None,
               residual: bytes = b"", link: int = 0, takes_kept: bool = False) -> None:
        """The same for a connection that is a wire; its descriptor says nothing here."""
        cdef Wire* wire = <Wire*>calloc(1, sizeof(Wire))
        cdef Wire** more
        if wire == NULL:
            raise MemoryError
        more = <Wire**>realloc(self.wires, (self.wire_count + 1) * sizeof(Wire*))
        if more == NULL:
            free(wire)
            raise MemoryError
        wire.takes = <uint64_t>-1
        self.wires = more
        self.core.driver = more
        self.wires[self.wire_count] = wire
        self.wire_count += 1
        Desk.attach(self, token, FIRST_DESCRIPTOR + self.wire_count - 1, exp_cmd_sn, stat_sn, parameters, luns,
                    residual, link, takes_kept)
        self.numbers[token, link] = self.wire_count - 1

    def connect(self, token: int, parameters: object, luns: dict | None, *, exp_cmd_sn: int = 1, stat_sn: int = 1,
                residual: bytes = b"", link: int = 0, takes_kept: bool = False) -> None:
        """A connection that has finished its login; see attach()."""
        self.attach(token, -1, exp_cmd_sn, stat_sn, parameters, luns, residual, link, takes_kept)
        self.step()

    def receive(self, token: int, data: bytes = b"", link: int = 0) -> bytes:
        """Hands a segment to the core and makes a step; returns all bytes it has sent on that connection since."""
        cdef Wire* wire = self._wire(token, link)
        if wire.input_first and wire.input_bytes:
            memmove(wire.input, wire.input + wire.input_first, wire.input_bytes)
        wire.input_first = 0
        if not append(&wire.input, &wire.input_bytes, &wire.input_room, <const char*>data, len(data)):
            raise MemoryError
        self.step()
        return self.sent(token, link)

    def sent(self, token: int, link: int = 0) -> bytes:
        """What the core has sent on that connection and nobody has collected; makes no step."""
        cdef Wire* wire = self._wire(token, link)
        if wire.broken:
            raise MemoryError
        answer = PyBytes_FromStringAndSize(<char*>wire.output, wire.output_bytes)
        wire.output_bytes = 0
        return answer

    def unreceived(self, token: int, link: int = 0) -> int:
        """Bytes handed over that the core has not taken yet, because its answers find no room."""
        return self._wire(token, link).input_bytes

    def full_after(self, token: int, count: int | None, link: int = 0) -> None:
        """The far end takes `count` more bytes and is full then; None: it takes everything."""
        self._wire(token, link).takes = <uint64_t>-1 if count is None else count

    def hang_up(self, token: int, link: int = 0) -> None:
        """The far end closes its socket."""
        self._wire(token, link).ended = True
        self.step()

    def is_open(self, token: int, link: int = 0) -> bool:
        """Whether the core still holds the connection."""
        return not self._wire(token, link).closed

    def letters(self) -> list:
        """What it told the control plane since the last call, oldest first."""
        return self.outbox.collect()

    def hold_jobs(self) -> None:
        """From now on jobs are done when finish_job() says so, and in that order, instead of by threads."""
        self.held_jobs = HeldPool("held", 0)
        self.storage = self.python = self.held_jobs
        self.core.storage = self.core.python = <void*>self.held_jobs

    @property
    def jobs(self) -> int:
        """Jobs that are held."""
        return self.held_jobs.count() if self.held_jobs is not None else 0

    def finish_job(self, number: int) -> None:
        """Does one of the held jobs, counted in the order of their submission, and makes a step."""
        if not 0 <= number < self.jobs:
            raise IndexError(f"there is no job {number}")
        self.held_jobs.finish(number)
        self.step()

    def step(self) -> None:
        """Works until nothing more can be done without input, a finished job or a fetch."""
        with nogil:
            self.work()

    def tick(self, now_ms: int) -> None:
        """Sets the clock (milliseconds, it begins at `clock_ms`) and does what is due once a second."""
        self.core.now_ms = now_ms
        with nogil:
            self.work()
            begin_step(&self.core.listener)
            self.do_due()
            end_step(&self.core.listener)
            self.work()

    @property
    def clock_ms(self) -> int:
        """The clock of the core."""
        return self.core.now_ms

    @property
    def descriptor(self) -> int:
        """Readable when a job or a fetch has ended and step() has something to do."""
        return self.core.inbox.eventfd

    @property
    def busy(self) -> int:
        """Jobs on other threads, and tasks parked for cold data or a hold."""
        cdef uint32_t i
        cdef Task* task
        count = 0
        for i in range(self.core.connection_room):
            if self.core.connections[i] != NULL:
                count += self.core.connections[i].jobs
        task = self.core.parked
        while task != NULL:
            count += 1
            task = task.next
        return count

    @property
    def live_tasks(self) -> int:
        """Tasks of all sessions."""
        cdef Session* session = self.core.sessions
        count = 0
        while session != NULL:
            count += session.live
            session = session.next
        return count

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the write buffers in use."""
        return self.core.buffer_bytes

    # --- the driver ---

    cdef Wire* _wire(self, object token, object link) except NULL:
        return self.wires[<uint32_t>self.numbers[token, link]]

    cdef void work(self) noexcept nogil:
        cdef Core* core = &self.core
        cdef Connection* c
        cdef Wire* wire
        cdef uint32_t i
        cdef bint more = True
        begin_step(&core.listener)
        self.read_letters()
        while more:
            self.run_turns()
            more = core.running_first != NULL
            for i in range(core.connection_room):
                c = core.connections[i]
                if c == NULL or c.closed:
                    continue
                wire = wire_of(core, c)
                if c.blocked:
                    if wire.takes or wire.ended:
                        self.turn(c, False)
                        more = True
                elif c.held:
                    continue                # nothing more is received until its turn has come
                elif wire.input_bytes or wire.ended:
                    self.turn(c, True)
                    more = True
        end_step(&core.listener)

    cdef void watch(self, Connection* c, int how) noexcept nogil:
        if how == WATCH_END:
            wire_of(&self.core, c).closed = True
