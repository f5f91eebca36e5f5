"""The core driven with bytes instead of sockets: what tests, fuzzers and benchmarks talk to.

Every connection has a stream: bytes on their way in, bytes that came out, and how many more the far end takes before it
is full. Nothing happens by itself: a step is made by receive(), step() or tick(), on the caller's thread.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove
from posix.uio cimport iovec

from goldherd.block.pool cimport Job, Lane, Pool, begin_step, end_step
from goldherd.session.core cimport Core, STREAM_EMPTY, STREAM_ENDED, begin_times, end_times
from goldherd.reactor.loop cimport INTEREST_END, Loop
from goldherd.reactor.events_out cimport EventQueue
from goldherd.session.state cimport Connection, Session, Task

cdef enum:
    FIRST_DESCRIPTOR = 0x40000000   # numbers no open file has; stream i is descriptor FIRST_DESCRIPTOR + i
    START_MS = 1000000              # the clock before the first tick

cdef struct Stream:
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


cdef inline Stream* stream_of(Core* core, Connection* c) noexcept nogil:
    return (<Stream**>core.driver)[c.fd - FIRST_DESCRIPTOR]


cdef ssize_t send_to_stream(Core* core, Connection* c, iovec* iov, int count) noexcept nogil:
    cdef Stream* stream = stream_of(core, c)
    cdef uint64_t total = 0
    cdef uint64_t part
    cdef int i
    if stream.ended:
        return STREAM_ENDED
    for i in range(count):
        part = iov[i].iov_len if iov[i].iov_len < stream.takes else stream.takes
        if not append(&stream.output, &stream.output_bytes, &stream.output_room, iov[i].iov_base, part):
            stream.broken = True
            return STREAM_ENDED
        stream.takes -= part
        total += part
        if part < iov[i].iov_len:
            break
    return <ssize_t>total


cdef ssize_t receive_from_stream(Core* core, Connection* c, iovec* iov, int count) noexcept nogil:
    cdef Stream* stream = stream_of(core, c)
    cdef uint64_t total = 0
    cdef uint64_t part
    cdef int i
    if stream.input_bytes == 0:
        return STREAM_ENDED if stream.ended else STREAM_EMPTY
    for i in range(count):
        part = iov[i].iov_len if iov[i].iov_len < stream.input_bytes else stream.input_bytes
        memcpy(iov[i].iov_base, stream.input + stream.input_first, part)
        stream.input_first += part
        stream.input_bytes -= part
        total += part
    return <ssize_t>total


cdef class DeferredPool(Pool):
    """A pool without threads: its jobs wait until the caller says which one is done next."""

    def __cinit__(self, str name, int thread_count, int thread_count_max = 0) -> None:
        self.first = NULL

    cdef void submit(self, Lane* lane, Job* job) noexcept nogil:
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
cdef class InMemoryReactor(Loop):
    """A reactor without sockets; all its sessions are spoken to through receive().

    Args:
        number: for names.
        events: what it tells the control plane.
    """

    def __cinit__(self, int number, EventQueue events not None) -> None:
        self.core.send_some = send_to_stream
        self.core.receive_some = receive_from_stream
        self.core.now_ms = START_MS
        self.numbers = {}

    def __dealloc__(self) -> None:
        cdef uint32_t i
        while self.deferred_jobs is not None and self.deferred_jobs.count():
            self.deferred_jobs.finish(0)
        if self.core.batch != NULL:
            with nogil:
                self.end_all()         # while the streams are still there
        for i in range(self.stream_count):
            free(self.streams[i].input)
            free(self.streams[i].output)
            free(self.streams[i])
        free(self.streams)

    # --- what a test does ---

    def attach(self, session_id: int, fd: int, exp_cmd_sn: int, stat_sn: int, parameters: object, luns: dict | None,
               residual: bytes = b"", connection: int = 0, reinstates: bool = False) -> None:
        """The same for a connection that is a stream; its descriptor says nothing here."""
        Loop.attach(self, session_id, self.open_stream(session_id, connection), exp_cmd_sn, stat_sn, parameters, luns,
                    residual, connection, reinstates)

    def open_stream(self, session_id: int, connection: int = 0) -> int:
        """The descriptor of a new stream, which is that of the connection from now on."""
        cdef Stream* stream = <Stream*>calloc(1, sizeof(Stream))
        cdef Stream** more
        if stream == NULL:
            raise MemoryError
        more = <Stream**>realloc(self.streams, (self.stream_count + 1) * sizeof(Stream*))
        if more == NULL:
            free(stream)
            raise MemoryError
        stream.takes = <uint64_t>-1
        self.streams = more
        self.core.driver = more
        self.streams[self.stream_count] = stream
        self.stream_count += 1
        self.numbers[session_id, connection] = self.stream_count - 1
        return FIRST_DESCRIPTOR + self.stream_count - 1

    def connect(self, session_id: int, parameters: object, luns: dict | None, *, exp_cmd_sn: int = 1, stat_sn: int = 1,
                residual: bytes = b"", connection: int = 0, reinstates: bool = False) -> None:
        """A connection that has finished its login; see attach()."""
        self.attach(session_id, -1, exp_cmd_sn, stat_sn, parameters, luns, residual, connection, reinstates)
        self.step()

    def receive(self, session_id: int, data: bytes = b"", connection: int = 0) -> bytes:
        """Hands a segment to the core and makes a step; returns all bytes it has sent on that connection since."""
        cdef Stream* stream = self._stream(session_id, connection)
        if stream.input_first and stream.input_bytes:
            memmove(stream.input, stream.input + stream.input_first, stream.input_bytes)
        stream.input_first = 0
        if not append(&stream.input, &stream.input_bytes, &stream.input_room, <const char*>data, len(data)):
            raise MemoryError
        self.step()
        return self.sent(session_id, connection)

    def sent(self, session_id: int, connection: int = 0) -> bytes:
        """What the core has sent on that connection since the last call; makes no step."""
        cdef Stream* stream = self._stream(session_id, connection)
        if stream.broken:
            raise MemoryError
        answer = PyBytes_FromStringAndSize(<char*>stream.output, stream.output_bytes)
        stream.output_bytes = 0
        return answer

    def unreceived(self, session_id: int, connection: int = 0) -> int:
        """Bytes handed over that the core has not taken yet, because its answers find no room."""
        return self._stream(session_id, connection).input_bytes

    def full_after(self, session_id: int, count: int | None, connection: int = 0) -> None:
        """The far end takes `count` more bytes and is full then; None: it takes everything."""
        self._stream(session_id, connection).takes = <uint64_t>-1 if count is None else count

    def hang_up(self, session_id: int, connection: int = 0) -> None:
        """The far end closes its socket."""
        self._stream(session_id, connection).ended = True
        self.step()

    def is_open(self, session_id: int, connection: int = 0) -> bool:
        """Whether the core still holds the connection."""
        return not self._stream(session_id, connection).closed

    def take_events(self) -> list:
        """What it told the control plane since the last call, oldest first."""
        return self.events.collect()

    def defer_jobs(self) -> None:
        """From now on jobs are done when finish_job() says so, and in that order, instead of by threads."""
        self.deferred_jobs = DeferredPool("deferred", 0)
        self.core.pool = <void*>self.deferred_jobs

    @property
    def jobs(self) -> int:
        """Jobs that are deferred."""
        return self.deferred_jobs.count() if self.deferred_jobs is not None else 0

    def finish_job(self, number: int) -> None:
        """Does one of the deferred jobs, counted in the order of their submission, and makes a step."""
        if not 0 <= number < self.jobs:
            raise IndexError(f"there is no job {number}")
        self.deferred_jobs.finish(number)
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
        return self.core.messages.eventfd

    @property
    def busy(self) -> int:
        """Jobs on other threads, and tasks suspended for cold data or a quiesced unit."""
        cdef uint32_t i
        cdef Task* task
        count = 0
        for i in range(self.core.connection_room):
            if self.core.connections[i] != NULL:
                count += self.core.connections[i].jobs
        task = self.core.suspended
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

    cdef Stream* _stream(self, object session_id, object connection) except NULL:
        return self.streams[<uint32_t>self.numbers[session_id, connection]]

    cdef void work(self) noexcept nogil:
        cdef Core* core = &self.core
        cdef Connection* c
        cdef Stream* stream
        cdef uint32_t i
        cdef bint more = True
        begin_times(core)
        begin_step(&core.listener)
        self.read_messages()
        while more:
            self.serve_ready()
            if core.held:
                break
            more = core.running_first != NULL
            for i in range(core.connection_room):
                c = core.connections[i]
                if c == NULL or c.closed:
                    continue
                stream = stream_of(core, c)
                if c.blocked:
                    if stream.takes or stream.ended:
                        self.serve(c, False)
                        more = True
                elif c.paused:
                    continue                # nothing more is received until the commands before it have come
                elif stream.input_bytes or stream.ended:
                    self.serve(c, True)
                    more = True
        end_step(&core.listener)
        end_times(core)

    cdef void set_interest(self, Connection* c, int interest) noexcept nogil:
        if interest == INTEREST_END:
            stream_of(&self.core, c).closed = True
