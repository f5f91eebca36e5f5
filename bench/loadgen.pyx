"""Many iSCSI sessions at full queue depth from one thread without the GIL: the load that a target is measured by.

Logs nobody in: sessions come from initiator.py in the full feature phase. The image is filled by pattern.py, so
that each 8-byte word holds its own offset; a sample of the words (or every one) is checked as it arrives, and
writes write exactly what belongs there, so that a written image stays checkable.

A wake-up is one recv, all answers in it, and one send with the commands that take their place. Start at run().
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset, strerror
from posix.unistd cimport close

from bench.stream cimport (
    BAD_DATA, BAD_LENGTH, BAD_OPCODE, BAD_STATUS, BAD_TAG, BUCKETS, CLOSED, FINE, STUCK, SYSTEM, Counts, Plan, Stream,
    Task, bucket_ns, bucket_of, check, fail, fill, now,
)
from bench.system cimport (
    EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, MSG_DONTWAIT, MSG_NOSIGNAL, epoll_create1, epoll_ctl,
    epoll_event, epoll_wait, recv, send,
)
from goldherd.wire.opcodes cimport (
    BHS_BYTES, COMMAND_READ, COMMAND_WRITE, DATA_IN, DATA_IN_STATUS, DATA_OUT, FINAL, IMMEDIATE, NOP_IN, NOP_OUT,
    READY_TO_TRANSFER, RESERVED_TAG, SCSI_COMMAND, SCSI_RESPONSE,
)
from goldherd.wire.pdu cimport (
    AHS_LENGTH, BUFFER_OFFSET, CDB, CMD_SN, DATA_SN, DESIRED_LENGTH, EDTL, EXP_STAT_SN, FLAGS, ITT, LUN, MAX_CMD_SN,
    RESPONSE, STATUS, STAT_SN, TTT, before, data_length, get32, padded, put32,
)

from collections.abc import Sequence
from typing import NamedTuple

from bench.initiator import Session

cdef enum:
    RECEIVE_BYTES = 262144
    PINGS_BYTES = 4096          # of answers to pings that may wait
    EVENTS_MAX = 256
    LASTING_SECONDS_MAX = 3600  # of a run whose end is a number of commands
    BLOCK_BYTES = 512           # of the logical unit
    OPCODE_READ_10 = 0x28
    OPCODE_WRITE_10 = 0x2A
    ANY_OPCODE = 0x3F

cdef uint64_t DRAIN_NS_MAX = 30 * <uint64_t>1000000000   # how long the last answers may take

WORDS = {
    CLOSED: "the target closed the connection",
    SYSTEM: "a system call failed",
    BAD_STATUS: "a command ended with SCSI status {0:#x}",
    BAD_OPCODE: "the target sent opcode {0:#x}, which is out of place here",
    BAD_TAG: "an answer names task {0:#x}, which is not outstanding",
    BAD_DATA: "the data at byte {0} of the image are those of byte {1}",
    BAD_LENGTH: "a task of {0} bytes ended with {1} received",
    STUCK: "{0} commands were never answered",
}


class Result(NamedTuple):
    """What one run did; see loadgen.pyi."""

    commands: int
    seconds: float
    p50_us: float
    p99_us: float
    bytes_checked: int


class LoadError(Exception):
    """A session broke or lied; the text says which and how."""


cdef class Load:
    """Sessions in the full feature phase and the loop that drives them; close() logs nobody out, it only lets go."""

    cdef Stream* streams
    cdef uint32_t count
    cdef uint8_t* buffer
    cdef int epoll
    cdef Plan plan
    cdef uint64_t outstanding   # commands of all sessions
    cdef list sessions          # keeps the sockets open

    def __cinit__(self, sessions: Sequence[Session]) -> None:
        cdef Stream* stream
        cdef epoll_event event
        self.count = len(sessions)
        self.sessions = list(sessions)
        self.streams = <Stream*>calloc(self.count, sizeof(Stream))
        self.buffer = <uint8_t*>calloc(1, RECEIVE_BYTES)
        self.epoll = epoll_create1(0)
        if self.streams == NULL or self.buffer == NULL or self.epoll < 0:
            raise MemoryError
        for i, session in enumerate(sessions):
            stream = &self.streams[i]
            stream.fd = session.socket.fileno()
            stream.index = i
            stream.cmd_sn = session.cmd_sn
            stream.exp_stat_sn = session.exp_stat_sn
            stream.max_cmd_sn = session.max_cmd_sn
            stream.lun = session.lun
            stream.segment_max = session.segment_bytes_max
            stream.first_burst = session.immediate_bytes_max
            stream.size = session.size_bytes
            stream.random = <uint64_t>0x9E3779B97F4A7C15 * (stream.index + 1)
            event.events = EPOLLIN
            event.data.u32 = i
            if epoll_ctl(self.epoll, EPOLL_CTL_ADD, stream.fd, &event):
                raise OSError(errno, "epoll_ctl")

    def __dealloc__(self) -> None:
        if self.epoll > 0:
            close(self.epoll)
        for i in range(self.count):
            free(self.streams[i].tasks)
            free(self.streams[i].out)
        free(self.streams)
        free(self.buffer)

    def run(
        self, *, block_bytes: int, depth: int, seconds: float = 0, count_max: int = 0, write: bool = False,
        sequential: bool = False, check_all: bool = False, start_bytes: Sequence[int] | None = None,
    ) -> Result:
        cdef Counts counts
        cdef Stream* stream
        cdef uint32_t i
        cdef size_t room
        if not seconds and not count_max:
            raise ValueError("a run needs an end: seconds, or count_max commands per session")
        if block_bytes % BLOCK_BYTES or not 0 < block_bytes <= 65535 * BLOCK_BYTES:
            raise ValueError("READ(10) and WRITE(10) carry 1 to 65535 blocks of 512 bytes")
        memset(&counts, 0, sizeof(counts))
        self.plan.write = write
        self.plan.sequential = sequential
        self.plan.check_all = check_all
        self.plan.block = block_bytes
        self.plan.depth = depth
        self.plan.count_max = count_max
        # Room for every task's command and data (cut into segments of 512 bytes at the worst), and for pings.
        room = <size_t>BHS_BYTES * 2
        if write:
            room += self.plan.block + <size_t>BHS_BYTES * (self.plan.block // <size_t>BLOCK_BYTES)
        room = room * self.plan.depth + <size_t>PINGS_BYTES
        for i in range(self.count):
            stream = &self.streams[i]
            if stream.size < <uint64_t>block_bytes:
                raise ValueError("the image is smaller than one block of this run")
            free(stream.tasks)
            free(stream.out)
            stream.tasks = <Task*>calloc(depth, sizeof(Task))
            stream.out_size = room
            stream.out = <uint8_t*>calloc(1, room)
            stream.issued = 0
            stream.next = start_bytes[i] if start_bytes is not None else (
                stream.size // self.count // block_bytes * i * block_bytes)
            if stream.tasks == NULL or stream.out == NULL:
                raise MemoryError
        with nogil:
            counts.first = now()
            self.plan.until = counts.first + <uint64_t>((seconds or LASTING_SECONDS_MAX) * 1e9)
            self.drive(&counts)
        self.raise_for(&counts)
        return Result(
            counts.done, (counts.last - counts.first) / 1e9, self.percentile(&counts, 0.50),
            self.percentile(&counts, 0.99), counts.bytes_checked,
        )

    cdef raise_for(self, Counts* counts):
        if counts.trouble == FINE:
            return
        words = WORDS[counts.trouble].format(counts.detail[0], counts.detail[1])
        if counts.system_error:
            words += f": {strerror(counts.system_error).decode()}"
        raise LoadError(f"{words} (after {counts.done} commands)")

    cdef double percentile(self, Counts* counts, double share):
        """In microseconds."""
        cdef uint64_t seen = 0
        for bucket in range(BUCKETS):
            seen += counts.latencies[bucket]
            if seen and seen >= share * counts.done:
                return bucket_ns(bucket) / 1000
        return 0.0

    cdef void drive(self, Counts* counts) noexcept nogil:
        """Runs the plan on every session and returns when nothing is outstanding any more."""
        cdef epoll_event events[EVENTS_MAX]
        cdef uint64_t time = counts.first
        cdef int ready, i
        cdef uint32_t index
        for index in range(self.count):
            self.refill(&self.streams[index], time)
            if self.flush(&self.streams[index], counts):
                return
        while self.outstanding:
            ready = epoll_wait(self.epoll, events, EVENTS_MAX, 1000)
            time = now()
            if ready < 0 and errno != EINTR:
                counts.system_error = errno
                fail(counts, SYSTEM)
                return
            if ready <= 0 and time > self.plan.until and time - self.plan.until > DRAIN_NS_MAX:
                fail(counts, STUCK, self.outstanding)
                return
            for i in range(ready):
                if self.serve(&self.streams[events[i].data.u32], counts, time):
                    return

    cdef int serve(self, Stream* stream, Counts* counts, uint64_t time) noexcept nogil:
        """One wake-up of one session."""
        cdef ssize_t got = recv(stream.fd, self.buffer, RECEIVE_BYTES, MSG_DONTWAIT)
        if got > 0:
            if self.take(stream, self.buffer, <size_t>got, counts, time):
                return -1
        elif got == 0:
            return fail(counts, CLOSED)
        elif errno != EAGAIN and errno != EINTR:
            counts.system_error = errno
            return fail(counts, SYSTEM)
        self.refill(stream, time)
        return self.flush(stream, counts)

    # --- receiving ---

    cdef int take(
        self, Stream* stream, const uint8_t* data, size_t length, Counts* counts, uint64_t time
    ) noexcept nogil:
        """Any piece of the byte stream, cut anywhere."""
        cdef size_t part
        while length:
            if stream.payload_left:
                part = min(length, <size_t>stream.payload_left)
                if self.take_payload(stream, data, <uint32_t>part, counts):
                    return -1
                if stream.payload_left == 0 and self.end_data(stream, counts, time):
                    return -1
            elif stream.skip:
                part = min(length, <size_t>stream.skip)
                stream.skip -= <uint32_t>part
            else:
                part = min(length, <size_t>(BHS_BYTES - stream.header_have))
                memcpy(stream.header + stream.header_have, data, part)
                stream.header_have += <uint32_t>part
                if stream.header_have == BHS_BYTES:
                    stream.header_have = 0
                    if self.take_header(stream, counts, time):
                        return -1
                    if stream.payload_left == 0 and self.end_data(stream, counts, time):
                        return -1
            data += part
            length -= part
        return 0

    cdef int end_data(self, Stream* stream, Counts* counts, uint64_t time) noexcept nogil:
        """A PDU has come whole. A Data-In with status ends its task: with its last byte, not with its header."""
        cdef uint8_t* header = stream.header
        if header[0] == DATA_IN and header[FLAGS] & DATA_IN_STATUS:
            return self.finish(stream, get32(header + ITT), header[STATUS], counts, time)
        return 0

    cdef int take_payload(self, Stream* stream, const uint8_t* data, uint32_t length, Counts* counts) noexcept nogil:
        cdef uint32_t real = min(length, stream.payload_data)
        if stream.header[0] == DATA_IN and real:
            if check(data, stream.payload_place, real, self.plan.check_all, counts):
                return -1
        stream.payload_place += real
        stream.payload_data -= real
        stream.payload_left -= length
        return 0

    cdef int take_header(self, Stream* stream, Counts* counts, uint64_t time) noexcept nogil:
        cdef uint8_t* header = stream.header
        cdef uint8_t opcode = header[0] & ANY_OPCODE
        cdef uint32_t tag = get32(header + ITT)
        cdef uint32_t length = data_length(header)
        cdef Task* task
        header[0] = opcode
        stream.skip = header[AHS_LENGTH] * 4
        stream.payload_data = length
        stream.payload_left = padded(length)
        if not before(get32(header + MAX_CMD_SN), stream.max_cmd_sn):
            stream.max_cmd_sn = get32(header + MAX_CMD_SN)
        if opcode == NOP_IN:
            return self.pong(stream)
        if opcode not in (DATA_IN, SCSI_RESPONSE, READY_TO_TRANSFER):
            return fail(counts, BAD_OPCODE, opcode)
        if tag >= self.plan.depth or not stream.tasks[tag].outstanding:
            return fail(counts, BAD_TAG, tag)
        task = &stream.tasks[tag]
        if opcode == READY_TO_TRANSFER:
            return self.send_burst(stream, task, tag, counts)
        if opcode == DATA_IN:
            if get32(header + BUFFER_OFFSET) + length > self.plan.block:
                return fail(counts, BAD_LENGTH, self.plan.block, get32(header + BUFFER_OFFSET) + length)
            stream.payload_place = task.offset + get32(header + BUFFER_OFFSET)
            task.received += length
            if header[FLAGS] & DATA_IN_STATUS:
                stream.exp_stat_sn = get32(header + STAT_SN) + 1
            return 0
        stream.exp_stat_sn = get32(header + STAT_SN) + 1
        if header[RESPONSE]:
            return fail(counts, BAD_STATUS, header[RESPONSE] << 8 | header[STATUS])
        return self.finish(stream, tag, header[STATUS], counts, time)

    cdef int finish(self, Stream* stream, uint32_t tag, uint8_t status, Counts* counts, uint64_t time) noexcept nogil:
        cdef Task* task = &stream.tasks[tag]
        if status:
            return fail(counts, BAD_STATUS, status)
        if not self.plan.write and task.received != self.plan.block:
            return fail(counts, BAD_LENGTH, self.plan.block, task.received)
        task.outstanding = False
        stream.inflight -= 1
        self.outstanding -= 1
        if time <= self.plan.until:
            counts.done += 1
            counts.last = time
            counts.latencies[min(bucket_of(time - task.started), BUCKETS - 1)] += 1
        return 0

    # --- sending ---

    cdef void refill(self, Stream* stream, uint64_t time) noexcept nogil:
        """Puts commands behind each other until the queue is full, the window is shut or the run is over."""
        cdef uint32_t tag
        if time >= self.plan.until:
            return
        for tag in range(self.plan.depth):
            if stream.inflight == self.plan.depth or before(stream.max_cmd_sn, stream.cmd_sn):
                return
            if self.plan.count_max and stream.issued == self.plan.count_max:
                return
            if not stream.tasks[tag].outstanding:
                self.put_command(stream, tag, time)

    cdef uint64_t choose(self, Stream* stream) noexcept nogil:
        """The image offset of the next command."""
        cdef uint64_t blocks = stream.size // self.plan.block
        cdef uint64_t place
        if self.plan.sequential:
            place = stream.next
            if place + self.plan.block > stream.size:
                place = 0
            stream.next = place + self.plan.block
            return place
        stream.random ^= stream.random << 13
        stream.random ^= stream.random >> 7
        stream.random ^= stream.random << 17
        return stream.random % blocks * self.plan.block

    cdef void put_command(self, Stream* stream, uint32_t tag, uint64_t time) noexcept nogil:
        cdef uint8_t* header = stream.out + stream.out_end
        cdef Task* task = &stream.tasks[tag]
        cdef uint32_t immediate = min(stream.first_burst, self.plan.block) if self.plan.write else 0
        task.offset = self.choose(stream)
        task.received = 0
        task.started = time
        task.outstanding = True
        memset(header, 0, BHS_BYTES)
        header[0] = SCSI_COMMAND
        header[FLAGS] = <uint8_t>(FINAL | (COMMAND_WRITE if self.plan.write else COMMAND_READ) | 1)   # SIMPLE
        put32(header + 4, immediate)
        header[LUN + 1] = <uint8_t>stream.lun
        put32(header + ITT, tag)
        put32(header + EDTL, self.plan.block)
        put32(header + CMD_SN, stream.cmd_sn)
        put32(header + EXP_STAT_SN, stream.exp_stat_sn)
        header[CDB] = OPCODE_WRITE_10 if self.plan.write else OPCODE_READ_10
        put32(header + CDB + 2, <uint32_t>(task.offset // BLOCK_BYTES))
        header[CDB + 7] = <uint8_t>(self.plan.block // BLOCK_BYTES >> 8)
        header[CDB + 8] = <uint8_t>(self.plan.block // BLOCK_BYTES)
        if immediate:
            fill(header + BHS_BYTES, task.offset, immediate)
        stream.out_end += BHS_BYTES + immediate
        stream.cmd_sn += 1
        stream.inflight += 1
        self.outstanding += 1
        stream.issued += 1

    cdef int send_burst(self, Stream* stream, Task* task, uint32_t tag, Counts* counts) noexcept nogil:
        """The Data-Out PDUs one R2T asks for (RFC 7143 11.8)."""
        cdef uint32_t place = get32(stream.header + BUFFER_OFFSET)
        cdef uint32_t left = get32(stream.header + DESIRED_LENGTH)
        cdef uint32_t number = 0
        cdef uint32_t part
        cdef uint8_t* header
        if <uint64_t>place + left > self.plan.block:
            return fail(counts, BAD_LENGTH, self.plan.block, <uint64_t>place + left)
        while left:
            part = min(left, stream.segment_max)
            if stream.out_end + BHS_BYTES + part > stream.out_size:
                return fail(counts, BAD_OPCODE, READY_TO_TRANSFER)     # asks for the same bytes again and again
            header = stream.out + stream.out_end
            memset(header, 0, BHS_BYTES)
            header[0] = DATA_OUT
            header[FLAGS] = FINAL if part == left else 0
            put32(header + 4, part)
            header[LUN + 1] = <uint8_t>stream.lun
            put32(header + ITT, tag)
            memcpy(header + TTT, stream.header + TTT, 4)
            put32(header + EXP_STAT_SN, stream.exp_stat_sn)
            put32(header + DATA_SN, number)
            put32(header + BUFFER_OFFSET, place)
            fill(header + BHS_BYTES, task.offset + place, part)
            stream.out_end += BHS_BYTES + part
            place += part
            left -= part
            number += 1
        return 0

    cdef int pong(self, Stream* stream) noexcept nogil:
        """Answers a ping that asks for it (RFC 7143 11.19): an immediate NOP-Out with the target's tag."""
        cdef uint8_t* header = stream.out + stream.out_end
        if get32(stream.header + TTT) == <uint32_t>RESERVED_TAG:
            return 0
        if stream.out_end + BHS_BYTES > stream.out_size:
            return 0    # more pings than anybody needs: one unanswered is none lost
        memset(header, 0, BHS_BYTES)
        header[0] = <uint8_t>(NOP_OUT | IMMEDIATE)
        header[FLAGS] = FINAL
        memcpy(header + LUN, stream.header + LUN, 8)
        put32(header + ITT, <uint32_t>RESERVED_TAG)
        memcpy(header + TTT, stream.header + TTT, 4)
        put32(header + CMD_SN, stream.cmd_sn)
        put32(header + EXP_STAT_SN, stream.exp_stat_sn)
        stream.out_end += BHS_BYTES
        return 0

    cdef int flush(self, Stream* stream, Counts* counts) noexcept nogil:
        """One send; what the socket does not take waits for EPOLLOUT."""
        cdef ssize_t sent
        cdef epoll_event event
        if stream.out_start < stream.out_end:
            sent = send(
                stream.fd, stream.out + stream.out_start, stream.out_end - stream.out_start,
                MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent > 0:
                stream.out_start += <size_t>sent
            elif errno != EAGAIN and errno != EINTR:
                counts.system_error = errno
                return fail(counts, SYSTEM)
        if stream.out_start == stream.out_end:
            stream.out_start = stream.out_end = 0
        elif stream.out_start:
            memmove(stream.out, stream.out + stream.out_start, stream.out_end - stream.out_start)
            stream.out_end -= stream.out_start
            stream.out_start = 0
        if stream.wants_out != (stream.out_end > 0):
            stream.wants_out = stream.out_end > 0
            event.events = EPOLLIN | (EPOLLOUT if stream.wants_out else 0)
            event.data.u32 = stream.index
            epoll_ctl(self.epoll, EPOLL_CTL_MOD, stream.fd, &event)
        return 0

    def close(self) -> None:
        """Gives the numbers back to the sessions, so that they can log out or be loaded again."""
        for i, session in enumerate(self.sessions):
            session.cmd_sn = self.streams[i].cmd_sn
            session.exp_stat_sn = self.streams[i].exp_stat_sn
            session.max_cmd_sn = self.streams[i].max_cmd_sn
        self.sessions = []
