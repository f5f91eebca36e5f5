"""PDUs towards the initiator, written into the batch (RFC 7143 section 11). Sends nothing itself.

Every function may count on has_room(batch); those that write more than one PDU ask again before each.
"""

from libc.errno cimport EIO
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from goldherd.block.image cimport Image, PLAN_BLOCKING, PLAN_COLD, RUN_FILE, RUN_MEMORY, RUN_ZERO, Run
from goldherd.native.endian cimport put16, put32
from goldherd.native.limits cimport EMIT_BYTES_MAX, PLAN_RUNS_MAX, SECTOR_BYTES, SENSE_BYTES_MAX
from goldherd.session.batch cimport Batch, put_control, put_memory, has_room
from goldherd.block.fileio cimport read_now
from goldherd.session.codes cimport CLOSE_ALONE, CLOSE_LOGOUT, PDU_CLOSES, PDU_CLOSES_ALONE, PDU_TAKES_STAT_SN
from goldherd.session.state cimport max_cmd_sn
from goldherd.wire.digest cimport CRC_START, crc_store, crc_update
from goldherd.wire.opcodes cimport (
    BHS_BYTES, DATA_IN, DATA_IN_STATUS, FINAL, NOP_IN, READY_TO_TRANSFER, REJECT, RESERVED_TAG, RESIDUAL_OVERFLOW,
    RESIDUAL_UNDERFLOW, SCSI_RESPONSE)
from goldherd.wire.pdu cimport (
    BUFFER_OFFSET, DATA_SN, DESIRED_LENGTH, EXP_CMD_SN, FLAGS, ITT, LUN, MAX_CMD_SN, RESIDUAL, RESPONSE, STATUS,
    STAT_SN, TTT, data_length, padded)

cdef enum:
    SECTOR_MASK = SECTOR_BYTES - 1


cdef inline uint8_t* begin(Core* core, Connection* c, int opcode, int flags, uint32_t length) noexcept nogil:
    """A header with its opcode, flags and lengths; the rest is zero."""
    cdef uint8_t* header = put_control(core.batch, BHS_BYTES + (4 if c.header_digest else 0))
    memset(header, 0, BHS_BYTES)
    header[0] = <uint8_t>opcode
    header[FLAGS] = <uint8_t>flags
    put32(header + 4, length)
    return header


cdef inline void finish(Connection* c, uint8_t* header, bint takes_stat_sn) noexcept nogil:
    """The numbers that every PDU carries, and the header digest."""
    put32(header + STAT_SN, c.stat_sn)
    if takes_stat_sn:
        c.stat_sn += 1
    put32(header + EXP_CMD_SN, c.session.exp_cmd_sn)
    put32(header + MAX_CMD_SN, max_cmd_sn(c.session))
    if c.header_digest:
        crc_store(crc_update(CRC_START, header, BHS_BYTES), header + BHS_BYTES)


cdef inline void put_small(Core* core, Connection* c, const void* data, uint32_t length) noexcept nogil:
    """A small data segment: copied, padded, with its digest."""
    cdef uint32_t whole = padded(length)
    cdef uint8_t* place
    if length == 0:
        return
    place = put_control(core.batch, whole + (4 if c.data_digest else 0))
    memcpy(place, data, length)
    memset(place + length, 0, whole - length)
    if c.data_digest:
        crc_store(crc_update(CRC_START, place, whole), place + whole)


cdef inline int residual(uint64_t cdb_bytes, uint32_t expected, uint8_t* header) noexcept nogil:
    """Writes the residual count and gives its flag (RFC 7143 11.4.5.1)."""
    cdef uint64_t over
    if cdb_bytes == expected:
        return 0
    if cdb_bytes < expected:
        put32(header + RESIDUAL, <uint32_t>(expected - cdb_bytes))
        return RESIDUAL_UNDERFLOW
    over = cdb_bytes - expected
    put32(header + RESIDUAL, <uint32_t>over if over < <uint64_t>RESERVED_TAG else <uint32_t>RESERVED_TAG)
    return RESIDUAL_OVERFLOW


cdef void emit_response(Core* core, Connection* connection, uint32_t itt, int status, uint64_t cdb_bytes,
                        uint32_t expected, uint32_t exp_data_sn, const char* sense, uint32_t sense_bytes) noexcept nogil:
    cdef uint8_t data[2 + SENSE_BYTES_MAX]
    cdef uint32_t length = 0
    cdef uint8_t* header
    if sense_bytes:
        length = 2 + sense_bytes
        put16(data, <uint16_t>sense_bytes)      # SenseLength comes first (11.4.7)
        memcpy(data + 2, sense, sense_bytes)
    header = begin(core, connection, SCSI_RESPONSE, FINAL, length)
    header[STATUS] = <uint8_t>status
    memcpy(header + ITT, &itt, 4)
    put32(header + DATA_SN, exp_data_sn)
    header[FLAGS] |= <uint8_t>residual(cdb_bytes, expected, header)
    finish(connection, header, True)
    put_small(core, connection, data, length)


cdef inline void data_in_header(uint8_t* header, Task* task, uint64_t offset) noexcept nogil:
    memcpy(header + ITT, &task.itt, 4)
    put32(header + TTT, <uint32_t>RESERVED_TAG)
    put32(header + DATA_SN, task.data_sn)
    put32(header + BUFFER_OFFSET, <uint32_t>offset)
    task.data_sn += 1


cdef inline int data_in_flags(Connection* c, Task* task, uint32_t length, bint last, bint status) noexcept nogil:
    """F ends a sequence of at most MaxBurstLength (11.7.1); S comes with the last, if no sense must follow."""
    task.burst_left -= length
    if last:
        return FINAL | DATA_IN_STATUS if status else FINAL
    if task.burst_left == 0:
        task.burst_left = c.max_burst
        return FINAL
    return 0


cdef inline uint64_t next_length(Connection* c, Task* task) noexcept nogil:
    """How long the next Data-In may be: the initiator's segment, its burst (11.7.1), and our own bound."""
    cdef uint64_t want = task.move - task.done
    if want > c.max_send_segment:
        want = c.max_send_segment
    if want > EMIT_BYTES_MAX:
        want = EMIT_BYTES_MAX
    return want if want < task.burst_left else task.burst_left


cdef int materialise(Core* core, Connection* c, Run* runs, int count, uint64_t* covered) noexcept nogil:
    """Brings runs that lie in files into the batch's data arena, as far as no disk has to be waited for.

    Returns the number of runs that are memory or zeros now; covered is their length. With data digests a file
    mapping is read like a file: touching it here could end in SIGBUS if the file was truncated.
    """
    cdef Batch* batch = core.batch
    cdef ssize_t got
    cdef int i
    cdef uint64_t total = 0
    for i in range(count):
        if runs[i].kind == RUN_FILE or (c.data_digest and runs[i].kind == RUN_MEMORY and runs[i].fd >= 0):
            got = read_now(runs[i].fd, runs[i].position, runs[i].length, <char*>batch.data + batch.data_used)
            got = got & ~<ssize_t>SECTOR_MASK if got > 0 else 0
            if got == 0:
                covered[0] = total
                return i
            runs[i].kind = RUN_MEMORY
            runs[i].memory = batch.data + batch.data_used
            runs[i].pins = NULL
            batch.data_used += <uint32_t>got
            if <uint64_t>got < runs[i].length:
                runs[i].length = <uint64_t>got
                covered[0] = total + <uint64_t>got
                return i + 1
        total += runs[i].length
    covered[0] = total
    return count


cdef int emit_read(Core* core, Connection* connection, Task* task) noexcept nogil:
    cdef Run runs[PLAN_RUNS_MAX]
    cdef Connection* c = connection
    cdef Batch* batch = core.batch
    cdef uint64_t want
    cdef uint64_t covered
    cdef uint64_t length
    cdef uint8_t* header
    cdef const char* memory
    cdef uint32_t crc
    cdef int count
    cdef int i
    cdef int flags
    cdef bint last
    while task.done < task.move:
        if not has_room(batch):
            return EMIT_FULL
        want = next_length(c, task)
        if task.loaded:             # the pool has read this part
            runs[0].kind = RUN_MEMORY
            runs[0].fd = -1
            runs[0].memory = batch.data + batch.data_used
            runs[0].pins = NULL
            covered = task.chunk - task.received
            if covered > want:
                covered = want
            runs[0].length = covered
            memcpy(batch.data + batch.data_used, task.buffer + task.received, covered)
            batch.data_used += <uint32_t>covered
            task.received += <uint32_t>covered
            task.loaded = task.received < task.chunk
            count = 1
        else:
            # RFC 7143 allows any length; whole sectors keep the backends simple, the rest is cut off below.
            length = (want + SECTOR_MASK) & ~<uint64_t>SECTOR_MASK
            if c.data_digest:
                for i in range(PLAN_RUNS_MAX):
                    runs[i].fd = -1     # only a backend that maps a file says which
            count = (<Image>task.nexus.unit.image).plan(task.offset + task.done, length, runs, PLAN_RUNS_MAX)
            if count <= 0:
                if count == PLAN_COLD:
                    return EMIT_COLD
                if count == PLAN_BLOCKING:
                    return EMIT_BLOCKING
                return count if count < 0 else -EIO
            count = materialise(core, c, runs, count, &covered)
            if covered == 0:
                return EMIT_BLOCKING
            if covered > want:
                runs[count - 1].length -= covered - want
                covered = want
        last = task.done + covered == task.move
        flags = data_in_flags(c, task, <uint32_t>covered, last, True)
        header = begin(core, c, DATA_IN, flags, <uint32_t>covered)
        data_in_header(header, task, task.done)
        if last:
            header[FLAGS] |= <uint8_t>residual(task.cdb_bytes, task.expected, header)
        finish(c, header, last)
        crc = CRC_START
        for i in range(count):
            memory = runs[i].memory if runs[i].kind == RUN_MEMORY else core.zeros
            put_memory(batch, memory, runs[i].length, runs[i].pins if runs[i].kind == RUN_MEMORY else NULL)
            if c.data_digest:
                crc = crc_update(crc, memory, runs[i].length)
        put_padding(core, c, <uint32_t>covered, crc)
        task.done += covered
        core.counters.read_bytes += covered
        c.read_bytes += covered
    return EMIT_DONE


cdef inline void put_padding(Core* core, Connection* c, uint32_t length, uint32_t crc) noexcept nogil:
    """Zeros up to a multiple of 4, and the digest of data and padding."""
    cdef uint32_t padding = padded(length) - length
    cdef uint8_t* place
    if padding == 0 and not c.data_digest:
        return
    place = put_control(core.batch, padding + (4 if c.data_digest else 0))
    memset(place, 0, padding)
    if c.data_digest:
        crc_store(crc_update(crc, place, padding), place + padding)


cdef int emit_reply(Core* core, Connection* connection, Task* task) noexcept nogil:
    cdef Connection* c = connection
    cdef Batch* batch = core.batch
    cdef uint64_t want
    cdef uint8_t* header
    cdef char* place
    cdef bint ends
    cdef bint last
    cdef const char* data = task.buffer + task.sense_bytes
    while task.done < task.move:
        if not has_room(batch):
            return EMIT_FULL
        want = next_length(c, task)
        ends = task.done + want == task.move
        last = ends and task.status == 0 and task.sense_bytes == 0
        header = begin(core, c, DATA_IN, data_in_flags(c, task, <uint32_t>want, ends, last), <uint32_t>want)
        data_in_header(header, task, task.done)
        if last:
            header[FLAGS] |= <uint8_t>residual(task.cdb_bytes, task.expected, header)
        finish(c, header, last)
        place = batch.data + batch.data_used
        memcpy(place, data + task.done, want)
        batch.data_used += <uint32_t>want
        put_memory(batch, place, want, NULL)
        put_padding(core, c, <uint32_t>want, crc_update(CRC_START, place, want) if c.data_digest else 0)
        task.done += want
        if last:
            return EMIT_DONE
    if not has_room(batch):
        return EMIT_FULL
    emit_response(core, c, task.itt, task.status, task.cdb_bytes, task.expected,
                  task.data_sn + task.r2t_sn, task.buffer, task.sense_bytes)
    return EMIT_DONE


cdef void emit_answer(Core* core, Connection* connection, uint32_t itt, uint32_t expected, const uint8_t* answer,
                      uint32_t length) noexcept nogil:
    cdef uint8_t* header
    cdef uint32_t move = length if length < expected else expected
    if move == 0:
        emit_response(core, connection, itt, 0, length, expected, 0, NULL, 0)
        return
    header = begin(core, connection, DATA_IN, FINAL | DATA_IN_STATUS, move)
    memcpy(header + ITT, &itt, 4)
    put32(header + TTT, <uint32_t>RESERVED_TAG)
    header[FLAGS] |= <uint8_t>residual(length, expected, header)
    finish(connection, header, True)
    put_small(core, connection, answer, move)


cdef void emit_r2t(Core* core, Connection* connection, Task* task) noexcept nogil:
    cdef uint8_t* header = begin(core, connection, READY_TO_TRANSFER, FINAL, 0)
    memcpy(header + LUN, task.lun, 8)
    memcpy(header + ITT, &task.itt, 4)
    put32(header + TTT, task.tag)
    task.ttt = task.tag
    put32(header + DATA_SN, task.r2t_sn)
    put32(header + BUFFER_OFFSET, <uint32_t>(task.done + task.received))
    put32(header + DESIRED_LENGTH, task.allowed)
    task.r2t_sn += 1
    finish(connection, header, False)       # "the next StatSN", not used up (11.8.3)


cdef void emit_nop_in(Core* core, Connection* connection, uint32_t itt, uint32_t ttt, const uint8_t* lun,
                      const uint8_t* data, uint32_t length) noexcept nogil:
    cdef Batch* batch = core.batch
    cdef uint8_t* header
    cdef char* place
    if length > connection.max_send_segment:
        length = connection.max_send_segment
    if length > EMIT_BYTES_MAX:
        length = EMIT_BYTES_MAX
    header = begin(core, connection, NOP_IN, FINAL, length)
    if lun != NULL:
        memcpy(header + LUN, lun, 8)
    memcpy(header + ITT, &itt, 4)
    put32(header + TTT, ttt)
    finish(connection, header, itt != <uint32_t>RESERVED_TAG)
    if length:
        place = batch.data + batch.data_used
        memcpy(place, data, length)
        batch.data_used += padded(length)
        put_memory(batch, place, length, NULL)
        put_padding(core, connection, length, crc_update(CRC_START, place, length) if connection.data_digest else 0)


cdef void emit_reject(Core* core, Connection* connection, int reason, const uint8_t* header,
                      uint32_t header_bytes) noexcept nogil:
    cdef uint8_t* reject
    if header_bytes > connection.max_send_segment:      # with its additional segments it may be as long as 1068 bytes
        header_bytes = BHS_BYTES
    reject = begin(core, connection, REJECT, FINAL, header_bytes)
    reject[RESPONSE] = <uint8_t>reason
    put32(reject + ITT, <uint32_t>RESERVED_TAG)
    finish(connection, reject, True)
    put_small(core, connection, header, header_bytes)
    core.counters.rejects += 1


cdef int emit_pdu(Core* core, Connection* connection, Task* task) noexcept nogil:
    cdef uint8_t* header
    cdef Batch* batch = core.batch
    cdef uint32_t length = data_length(<const uint8_t*>task.buffer)
    cdef char* place
    if not has_room(batch):
        return EMIT_FULL
    header = put_control(batch, BHS_BYTES + (4 if connection.header_digest else 0))
    memcpy(header, task.buffer, BHS_BYTES)
    finish(connection, header, (task.flags & PDU_TAKES_STAT_SN) != 0)
    if length:
        place = batch.data + batch.data_used
        memcpy(place, task.buffer + BHS_BYTES, length)
        batch.data_used += padded(length)
        put_memory(batch, place, length, NULL)
        put_padding(core, connection, length, crc_update(CRC_START, place, length) if connection.data_digest else 0)
    if task.flags & (PDU_CLOSES | PDU_CLOSES_ALONE):
        connection.closing = True
        connection.reason = CLOSE_LOGOUT if task.flags & PDU_CLOSES else CLOSE_ALONE
    return EMIT_DONE
