"""SCSI commands as they arrive: numbering, the LUN, and the first step of each task.

Reads and writes that nothing stands in the way of are carried out here; prebuilt answers are given; everything else
takes the slow path. A transfer is checked against the disk before anything of it happens.
"""

from libc.errno cimport EAGAIN, EBADE, EBADRQC, EOVERFLOW
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from goldherd.block.image cimport IMAGE_STORE_BLOCKS, IMAGE_STORE_NOW
from goldherd.native.endian cimport get16, get32, get64
from goldherd.native.limits cimport (
    IMMEDIATE_TASKS_MAX, PARAMETER_BYTES_MAX, WRITE_CHUNK_BYTES_MAX, WRITE_INLINE_BYTES_MAX)
from goldherd.session.codes cimport (
    CLOSE_MEMORY, CLOSE_PROTOCOL, PURPOSE_FLUSH, PURPOSE_READ, PURPOSE_SLOW, PURPOSE_WRITE)
from goldherd.session.emit cimport EMIT_DONE, EMIT_FULL, emit_answer, emit_read, emit_reject, emit_response
from goldherd.session.ordering cimport count_command
from goldherd.session.memory cimport known_task, take_task
from goldherd.session.queues cimport enqueue
from goldherd.session.tasks cimport (
    conclude, data_arrived, fail, get_buffer, send_to_control, start_job, store_failed, store_now, wait_for_data)
from goldherd.scsi.fastpath.statuses cimport TASK_SET_FULL
from goldherd.scsi.fastpath.cdb cimport Extent, VERB_OTHER, VERB_READ, VERB_WRITE, data_out_bytes, decode
from goldherd.scsi.fastpath.unit cimport (
    Answer, Answers, SLOW_ALL, SLOW_PREBUILT, SLOW_READ, SLOW_WRITE, NexusState, UnitState, WRITE_THROUGH,
    answers_of, flags_of, is_quiesced, watches_of)
from goldherd.scsi.fastpath.watch cimport touch
from goldherd.session.phases cimport PHASE_DATA_OUT, PHASE_READ
from goldherd.session.state cimport Session, Task, enter, in_window
from goldherd.wire.opcodes cimport (
    COMMAND_READ, COMMAND_WRITE, FINAL, IMMEDIATE, REJECT_INVALID_FIELD, REJECT_PROTOCOL_ERROR,
    REJECT_TASK_IN_PROGRESS, REJECT_TOO_MANY_IMMEDIATE, TASK_ATTRIBUTE, TASK_ATTRIBUTE_MAX)
from goldherd.wire.pdu cimport AHS_LENGTH, CDB, CMD_SN, EDTL, FLAGS, ITT, LUN, additional_headers_fit, head_length


cdef void protocol_error(Core* core, Connection* c, const uint8_t* header, uint32_t header_bytes, int reason) noexcept nogil:
    """Tells the initiator which PDU was wrong, then ends the connection (RFC 7143 7.6 allows both)."""
    emit_reject(core, c, reason, header, header_bytes)
    c.closing = True
    c.reason = CLOSE_PROTOCOL


# --- numbering ---

cdef bint numbered(Core* core, Connection* c, const uint8_t* header) noexcept nogil:
    """Whether the command is the next one, or immediate; counts it (RFC 7143 4.2.2.1)."""
    cdef Session* session = c.session
    cdef uint32_t cmd_sn
    if header[0] & IMMEDIATE:
        return True
    cmd_sn = get32(header + CMD_SN)
    if cmd_sn == session.exp_cmd_sn and in_window(session, cmd_sn):
        count_command(core, session)
        return True
    core.counters.dropped += 1          # outside the window: "silently ignore"
    if in_window(session, cmd_sn):      # a gap can't close on the only connection of a session
        c.closing = True
        c.reason = CLOSE_PROTOCOL
    return False


cdef bint task_set_full(Session* session) noexcept nogil:
    """Whether the session holds all the commands it may, numbered and immediate."""
    return session.live >= session.window + <uint32_t>IMMEDIATE_TASKS_MAX


cdef NexusState* nexus_of(Session* session, const uint8_t* header) noexcept nogil:
    """Single-level LUN addressing: peripheral (bus 0) or flat space (SAM-5 4.7)."""
    cdef uint64_t lun = get64(header + LUN)
    cdef uint32_t number = <uint32_t>(lun >> 48)
    if lun & <uint64_t>0x0000FFFFFFFFFFFF:
        return NULL
    if (number >> 14) == 1:
        number &= 0x3FFF
    elif number > 255:
        return NULL
    return session.luns[number] if number < session.lun_count else NULL


# --- SCSI commands ---

cdef Task* make_task(Core* core, Connection* c, const uint8_t* header, NexusState* nexus, uint32_t expected,
                     int purpose) noexcept nogil:
    cdef Task* task = take_task(core, c)
    if task == NULL:
        c.closing = True
        c.reason = CLOSE_MEMORY
        return NULL
    task.nexus = nexus
    task.purpose = <uint8_t>purpose
    task.expected = expected
    task.burst_left = c.max_burst
    task.cmd_sn = get32(header + CMD_SN)
    task.immediate = header[0] & IMMEDIATE != 0
    task.directions = header[FLAGS] & (COMMAND_READ | COMMAND_WRITE)
    memcpy(&task.itt, header + ITT, 4)
    memcpy(task.lun, header + LUN, 8)
    memcpy(task.cdb, header + CDB, 16)
    return task


cdef void collect_data_out(Core* core, Connection* c, Task* task, const uint8_t* header, const uint8_t* data, uint32_t length,
                 bint whole) noexcept nogil:
    """The first step of every command with Data-Out: what comes unasked, or the first R2T (RFC 7143 4.2.5.2)."""
    cdef uint32_t limit = c.first_burst if c.first_burst < task.expected else task.expected
    cdef bint final = (header[FLAGS] & FINAL) != 0 or c.initial_r2t
    cdef uint32_t room
    if length and (not c.immediate_data or length > limit):
        fail(core, task, EOVERFLOW)         # 0B/0C/0C; its data is dropped
        return
    if task.move > WRITE_CHUNK_BYTES_MAX and task.purpose == PURPOSE_WRITE:
        task.chunk = c.max_burst if c.max_burst < <uint32_t>WRITE_CHUNK_BYTES_MAX else WRITE_CHUNK_BYTES_MAX
    else:
        task.chunk = <uint32_t>task.move
    if task.purpose == PURPOSE_WRITE and task.chunk > c.max_burst:
        task.chunk = c.max_burst
    if length == 0 and final:
        data_arrived(core, task, 0, True)
        return
    # Unsolicited data may be longer than what the command block asks for; it must have a place to go.
    room = task.chunk if task.chunk > limit else limit
    if not get_buffer(core, task, room):
        core.counters.busy += 1
        conclude(core, task, TASK_SET_FULL)      # what follows for this task is dropped
        return
    task.allowed = limit
    task.unsolicited = True
    enter(task, PHASE_DATA_OUT)
    if whole:
        memcpy(task.buffer, data, length)
        data_arrived(core, task, length, final)
    else:
        c.sink_task = task
        c.sink = task.buffer


cdef bint answer(Core* core, Connection* c, const uint8_t* header, UnitState* unit, uint32_t expected) noexcept nogil:
    """Answers from the prebuilt list; False when the command is not on it."""
    cdef Answers* answers = answers_of(unit)
    cdef const uint8_t* cdb = header + CDB
    cdef Answer* entry
    cdef uint32_t i
    cdef uint32_t itt
    cdef uint32_t length
    cdef uint32_t allocation
    cdef uint64_t low
    cdef uint64_t high
    memcpy(&low, cdb, 8)
    memcpy(&high, cdb + 8, 8)
    for i in range(answers.count):
        entry = &answers.answers[i]
        if ((low & (<uint64_t*>entry.mask)[0]) == (<uint64_t*>entry.cdb)[0]
                and (high & (<uint64_t*>(entry.mask + 8))[0]) == (<uint64_t*>(entry.cdb + 8))[0]):
            length = entry.length
            if entry.allocation_bytes == 1:
                allocation = cdb[entry.allocation_at]
            elif entry.allocation_bytes == 2:
                allocation = get16(cdb + entry.allocation_at)
            elif entry.allocation_bytes == 4:
                allocation = get32(cdb + entry.allocation_at)
            else:
                allocation = length
            if allocation < length:
                length = allocation
            if length > c.max_send_segment and expected > c.max_send_segment:
                return False            # takes several Data-In: replies of the slow path are split
            memcpy(&itt, header + ITT, 4)
            emit_answer(core, c, itt, expected, entry.bytes, length)
            return True
    return False


cdef void to_slow_path(Core* core, Connection* c, const uint8_t* header, NexusState* nexus, const uint8_t* data,
                    uint32_t length, bint whole) noexcept nogil:
    """Everything that needs judgement or memory of its own goes to the control plane, with its Data-Out."""
    cdef uint32_t expected = get32(header + EDTL) if header[FLAGS] & (COMMAND_READ | COMMAND_WRITE) else 0
    cdef uint32_t shift = nexus.unit.block_shift if nexus != NULL else 9
    cdef Task* task = make_task(core, c, header, nexus, expected, PURPOSE_SLOW)
    if task == NULL:
        return
    if not header[FLAGS] & COMMAND_WRITE:
        send_to_control(core, task)
        return
    task.move = data_out_bytes(header + CDB, shift)
    if task.move > expected:
        task.move = expected
    if task.move > PARAMETER_BYTES_MAX:
        task.move = PARAMETER_BYTES_MAX     # the command sees that data is missing and says so
    collect_data_out(core, c, task, header, data, length, whole)


cdef inline void read_blocks(Core* core, Connection* c, const uint8_t* header, NexusState* nexus, uint64_t offset,
                             uint64_t length, uint32_t expected) noexcept nogil:
    cdef Task here              # most reads are answered before they would need a place of their own
    cdef Task* task
    cdef int emitted
    here.nexus = nexus
    here.offset = offset
    here.cdb_bytes = length
    here.expected = expected
    here.move = length if length < expected else expected
    here.done = 0
    here.data_sn = 0
    here.burst_left = c.max_burst
    here.loaded = False
    memcpy(&here.itt, header + ITT, 4)
    core.counters.reads += 1
    if here.move == 0:
        emit_response(core, c, here.itt, 0, length, expected, 0, NULL, 0)
        return
    emitted = emit_read(core, c, &here)
    if emitted == EMIT_DONE:
        return
    task = make_task(core, c, header, nexus, expected, PURPOSE_READ)
    if task == NULL:
        return
    task.offset = offset
    task.cdb_bytes = length
    task.move = here.move
    task.done = here.done
    task.data_sn = here.data_sn
    task.burst_left = here.burst_left
    if emitted == EMIT_FULL:        # goes on after the flush
        enqueue(core, task, PHASE_READ)
    else:
        wait_for_data(core, task, emitted)


cdef inline void write_blocks(Core* core, Connection* c, const uint8_t* header, NexusState* nexus, uint64_t offset,
                              uint64_t length, uint32_t expected, bint fua, const uint8_t* data, uint32_t arrived,
                              bint whole) noexcept nogil:
    cdef UnitState* unit = nexus.unit
    cdef Task* task
    cdef uint32_t itt
    cdef int result
    core.counters.writes += 1
    if (whole and arrived and arrived == length and arrived == expected and not fua and not is_quiesced(unit)
            and arrived <= <uint32_t>WRITE_INLINE_BYTES_MAX and c.immediate_data and arrived <= c.first_burst
            and unit.image_flags & (IMAGE_STORE_BLOCKS | IMAGE_STORE_NOW) != IMAGE_STORE_BLOCKS):
        # The everyday small write: all data is here, and the page cache takes it at once.
        touch(watches_of(unit), offset, length)
        result = store_now(core, unit, offset, length, <const char*>data)
        if result >= 0:
            memcpy(&itt, header + ITT, 4)
            emit_response(core, c, itt, 0, length, expected, 0, NULL, 0)
            core.counters.write_bytes += length
            c.write_bytes += length
            return
        if result != -EAGAIN:
            task = make_task(core, c, header, nexus, expected, PURPOSE_WRITE)
            if task != NULL:
                task.offset = offset
                task.cdb_bytes = task.move = length
                task.chunk = <uint32_t>length
                store_failed(core, task, -result)
            return
    task = make_task(core, c, header, nexus, expected, PURPOSE_WRITE)
    if task == NULL:
        return
    task.offset = offset
    task.cdb_bytes = length
    task.move = length if length < expected else expected
    task.move &= ~<uint64_t>((1 << unit.block_shift) - 1)      # whole blocks, or nothing
    task.fua = fua
    collect_data_out(core, c, task, header, data, arrived, whole)


cdef void refuse(Core* core, Connection* c, const uint8_t* header, NexusState* nexus, int error) noexcept nogil:
    """CHECK CONDITION for what the header says, before the command block is read; the data of the command is dropped."""
    cdef uint8_t flags = header[FLAGS]
    cdef int purpose = PURPOSE_WRITE if flags & COMMAND_WRITE else PURPOSE_READ
    cdef uint32_t expected = get32(header + EDTL) if flags & (COMMAND_READ | COMMAND_WRITE) else 0
    cdef Task* task = make_task(core, c, header, nexus, expected, purpose)
    if task != NULL:
        fail(core, task, error)


cdef void scsi_command(Core* core, Connection* c, const uint8_t* header, const uint8_t* data, uint32_t length,
                       bint whole) noexcept nogil:
    cdef Session* session = c.session
    cdef NexusState* nexus
    cdef Extent extent
    cdef uint32_t itt
    cdef uint32_t expected
    cdef int verb
    cdef uint8_t flags = header[FLAGS]
    cdef uint32_t slow
    if not numbered(core, c, header):
        return
    core.counters.commands += 1
    c.commands += 1
    memcpy(&itt, header + ITT, 4)
    if session.live:
        if known_task(session, itt) != NULL:
            emit_reject(core, c, REJECT_TASK_IN_PROGRESS, header, head_length(header))
            return
        if task_set_full(session):
            emit_reject(core, c, REJECT_TOO_MANY_IMMEDIATE, header, head_length(header))
            return
    if length and not flags & COMMAND_WRITE:
        protocol_error(core, c, header, head_length(header), REJECT_PROTOCOL_ERROR)
        return
    if header[AHS_LENGTH] and not additional_headers_fit(header):
        emit_reject(core, c, REJECT_INVALID_FIELD, header, head_length(header))
        return
    nexus = nexus_of(session, header)
    if flags & TASK_ATTRIBUTE > TASK_ATTRIBUTE_MAX:
        refuse(core, c, header, nexus, EBADRQC)
        return
    if flags & (COMMAND_READ | COMMAND_WRITE) == COMMAND_READ | COMMAND_WRITE:
        refuse(core, c, header, nexus, EBADE)       # no command here is bidirectional (RFC 7143 11.3.1)
        return
    slow = flags_of(nexus) if nexus != NULL else SLOW_ALL
    if slow & SLOW_ALL:
        to_slow_path(core, c, header, nexus, data, length, whole)
        return
    verb = decode(header + CDB, &extent)
    if verb == VERB_OTHER:
        if flags & COMMAND_WRITE or slow & SLOW_PREBUILT or not answer(core, c, header, nexus.unit,
                                               get32(header + EDTL) if flags & COMMAND_READ else 0):
            to_slow_path(core, c, header, nexus, data, length, whole)
        return
    if (extent.odd or extent.blocks > nexus.unit.block_count
            or extent.lba > nexus.unit.block_count - extent.blocks
            or (extent.blocks == 0 and extent.lba >= nexus.unit.block_count)):
        to_slow_path(core, c, header, nexus, data, length, whole)
        return
    if verb == VERB_READ:
        if slow & SLOW_READ or flags & COMMAND_WRITE:
            to_slow_path(core, c, header, nexus, data, length, whole)
            return
        expected = get32(header + EDTL) if flags & COMMAND_READ else 0
        read_blocks(core, c, header, nexus, extent.lba << nexus.unit.block_shift,
                    extent.blocks << nexus.unit.block_shift, expected)
    elif slow & SLOW_WRITE or flags & COMMAND_READ:
        to_slow_path(core, c, header, nexus, data, length, whole)
    elif verb == VERB_WRITE:
        expected = get32(header + EDTL) if flags & COMMAND_WRITE else 0
        if (expected < extent.blocks << nexus.unit.block_shift
                and expected & ((<uint32_t>1 << nexus.unit.block_shift) - 1)):
            to_slow_path(core, c, header, nexus, data, length, whole)       # ends inside a block: refused
            return
        write_blocks(core, c, header, nexus, extent.lba << nexus.unit.block_shift,
                     extent.blocks << nexus.unit.block_shift, expected,
                     extent.fua or (slow & WRITE_THROUGH) != 0, data, length, whole)
    elif flags & COMMAND_WRITE:
        to_slow_path(core, c, header, nexus, data, length, whole)           # it takes no data
    else:
        flush_blocks(core, c, header, nexus)


cdef void flush_blocks(Core* core, Connection* c, const uint8_t* header, NexusState* nexus) noexcept nogil:
    cdef Task* task = make_task(core, c, header, nexus, 0, PURPOSE_FLUSH)
    if task != NULL:
        start_job(core, task, PURPOSE_FLUSH)
