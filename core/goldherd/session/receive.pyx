"""PDUs from the initiator (RFC 7143 section 11): framing, Data-Out, and whatever is no SCSI command.

Each length is checked before it is used: a data segment against what we declared, Data-Out against the R2T it
answers, a transfer against the disk. Data of long PDUs goes straight to where it belongs (the sink); everything
shorter is looked at when it is whole.
"""

from libc.errno cimport EBADMSG, EPROTO
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memmove

from goldherd.native.endian cimport get32
from goldherd.native.limits cimport RECEIVE_BYTES, REQUEST_BYTES_MAX, SINK_BYTES_MIN
from goldherd.session.batch cimport has_room
from goldherd.session.commands cimport task_set_full, make_task, nexus_of, numbered, protocol_error, scsi_command
from goldherd.session.codes cimport CLOSE_DIGEST, PURPOSE_PDU, PURPOSE_WRITE
from goldherd.session.messages cimport MESSAGE_REQUEST, RequestMessage, make_message, post
from goldherd.session.emit cimport emit_nop_in, emit_reject
from goldherd.session.ordering cimport count_command, need_not_wait, out_of_order, stall
from goldherd.session.memory cimport known_task, release_task, task_of
from goldherd.session.tasks cimport conclude, data_arrived, fail, send_queued
from goldherd.scsi.fastpath.statuses cimport BUSY
from goldherd.scsi.fastpath.unit cimport NexusState
from goldherd.session.phases cimport PHASE_CONTROL, PHASE_DATA_OUT
from goldherd.session.state cimport Task, enter
from goldherd.wire.digest cimport CRC_START, crc_matches, crc_update
from goldherd.wire.opcodes cimport (
    BHS_BYTES, DATA_OUT, FINAL, IMMEDIATE, LOGIN_REQUEST, LOGOUT_REQUEST, NOP_OUT, OPCODE_MASK,
    REJECT_COMMAND_NOT_SUPPORTED, REJECT_DATA_DIGEST, REJECT_OUT_OF_RESOURCES, REJECT_PROTOCOL_ERROR,
    REJECT_TOO_MANY_IMMEDIATE, RESERVED_TAG, SCSI_COMMAND, TASK_MANAGEMENT_REQUEST, TEXT_REQUEST)
from goldherd.wire.pdu cimport (
    BUFFER_OFFSET, CMD_SN, DATA_SN, EDTL, FLAGS, ITT, LUN, TTT, data_length, head_length, padded)


# --- Data-Out ---

cdef void data_out(Core* core, Connection* c, const uint8_t* header, const uint8_t* data, uint32_t length,
                   bint whole) noexcept nogil:
    """RFC 7143 11.7: all of tag, number, offset and length must fit what was asked for, before a byte is taken."""
    cdef uint32_t tag = get32(header + TTT)
    cdef uint32_t itt
    cdef Task* task
    memcpy(&itt, header + ITT, 4)
    if tag == <uint32_t>RESERVED_TAG:
        task = known_task(c.session, itt)
        if task != NULL and not task.unsolicited:
            task = NULL
    else:
        task = task_of(core, tag)
        if task == NULL or task.ttt != tag or task.itt != itt or task.connection != c:
            task = known_task(c.session, itt)       # perhaps the process before this one has asked for the data
        if task != NULL and (task.ttt != tag or task.unsolicited):
            task = NULL
    if task == NULL or task.connection != c or task.phase != PHASE_DATA_OUT:
        core.counters.dropped += 1      # of a task that is gone, most likely aborted: discarded quietly
        return
    if (get32(header + DATA_SN) != task.data_sn or get32(header + BUFFER_OFFSET) != <uint32_t>(task.done + task.received)
            or length > task.allowed):
        fail(core, task, EPROTO)            # 0B/4B/00; whatever else comes for it is dropped
        return
    task.data_sn += 1
    if whole:
        memcpy(task.buffer + task.received, data, length)
        data_arrived(core, task, length, (header[FLAGS] & FINAL) != 0)
    else:
        c.sink_task = task
        c.sink = task.buffer + task.received


# --- other PDUs ---

cdef void nop_out(Core* core, Connection* c, const uint8_t* header, const uint8_t* data, uint32_t length) noexcept nogil:
    cdef uint32_t itt
    if not numbered(core, c, header):
        return
    memcpy(&itt, header + ITT, 4)
    if itt == <uint32_t>RESERVED_TAG:       # the answer to our ping
        c.answers_pings = True
        c.ping_waits = False
    else:
        emit_nop_in(core, c, itt, <uint32_t>RESERVED_TAG, header + LUN, data, length)


cdef void request(Core* core, Connection* c, const uint8_t* header, const uint8_t* data, uint32_t length) noexcept nogil:
    """Text, Logout and task management are answered by the control plane."""
    cdef Task* task
    cdef RequestMessage* message
    if not numbered(core, c, header):
        return
    if task_set_full(c.session):
        emit_reject(core, c, REJECT_TOO_MANY_IMMEDIATE, header, head_length(header))
        return
    if length > REQUEST_BYTES_MAX:
        emit_reject(core, c, REJECT_OUT_OF_RESOURCES, header, head_length(header))
        return
    task = make_task(core, c, header, NULL, 0, PURPOSE_PDU)
    if task == NULL:
        return
    message = <RequestMessage*>make_message(MESSAGE_REQUEST, sizeof(RequestMessage), length)
    if message == NULL:
        release_task(core, task)
        emit_reject(core, c, REJECT_OUT_OF_RESOURCES, header, head_length(header))
        return
    message.session_id = c.session.id
    message.connection = c.number
    message.tag = task.tag
    message.serial = task.serial
    memcpy(message.header, header, BHS_BYTES)
    message.data_bytes = length
    memcpy(message.data, data, length)
    enter(task, PHASE_CONTROL)
    post(core.events, &message.head)


cdef void dispatch(Core* core, Connection* c, const uint8_t* header, const uint8_t* data, uint32_t length) noexcept nogil:
    cdef int opcode = header[0] & OPCODE_MASK
    if opcode == SCSI_COMMAND:
        scsi_command(core, c, header, data, length, True)
    elif opcode == DATA_OUT:
        data_out(core, c, header, data, length, True)
    elif opcode == NOP_OUT:
        nop_out(core, c, header, data, length)
    elif opcode == TEXT_REQUEST or opcode == LOGOUT_REQUEST or opcode == TASK_MANAGEMENT_REQUEST:
        request(core, c, header, data, length)
    elif opcode == LOGIN_REQUEST or opcode >= 0x20:
        protocol_error(core, c, header, head_length(header), REJECT_PROTOCOL_ERROR)
    else:
        # SNACK at ErrorRecoveryLevel 0, vendor and unknown opcodes. One that looks numbered keeps its number.
        if not header[0] & IMMEDIATE and opcode != 0x10 and get32(header + CMD_SN) == c.session.exp_cmd_sn:
            count_command(core, c.session)
        emit_reject(core, c, REJECT_COMMAND_NOT_SUPPORTED, header, head_length(header))


cdef void bad_digest(Core* core, Connection* c, const uint8_t* header, Task* task) noexcept nogil:
    """A data digest error at ErrorRecoveryLevel 0: Reject, and the task ends with 0B/47/05 (RFC 7143 7.8)."""
    cdef int opcode = header[0] & OPCODE_MASK
    cdef uint32_t itt
    cdef NexusState* nexus
    core.counters.digest_errors += 1
    # Of a long PDU only the basic header was kept.
    emit_reject(core, c, REJECT_DATA_DIGEST, header, BHS_BYTES if header == c.sink_header else head_length(header))
    memcpy(&itt, header + ITT, 4)
    if task == NULL and opcode == SCSI_COMMAND:
        if numbered(core, c, header) and known_task(c.session, itt) == NULL and not task_set_full(c.session):
            nexus = nexus_of(c.session, header)
            if nexus != NULL:
                task = make_task(core, c, header, nexus, get32(header + EDTL), PURPOSE_WRITE)
    elif task == NULL and opcode == DATA_OUT:
        task = known_task(c.session, itt)
        if task != NULL and task.phase != PHASE_DATA_OUT:
            task = NULL
    elif task == NULL:
        numbered(core, c, header)
    if task != NULL:
        if task.nexus != NULL:
            fail(core, task, EBADMSG)
        else:
            conclude(core, task, BUSY)


# --- the sink: data of one long PDU ---

cdef void sink_place(Core* core, Connection* connection, uint8_t** place, uint32_t* room) noexcept nogil:
    room[0] = connection.sink_left
    if connection.sink == NULL:
        place[0] = core.scratch
        if room[0] > RECEIVE_BYTES:
            room[0] = RECEIVE_BYTES
    else:
        place[0] = <uint8_t*>connection.sink


cdef void sink_received(Core* core, Connection* connection, uint32_t length) noexcept nogil:
    cdef const void* place = <const void*>connection.sink if connection.sink != NULL else <const void*>core.scratch
    if connection.data_digest:
        connection.sink_crc = crc_update(connection.sink_crc, place, length)
    if connection.sink != NULL:
        connection.sink += length
    connection.sink_left -= length


cdef uint32_t open_sink(Core* core, Connection* c, uint8_t* header, uint32_t head, uint32_t length,
                        uint32_t have) noexcept nogil:
    """Begins a long PDU of which `have` bytes behind the header are here; returns how many of them are used up."""
    cdef uint8_t* place
    cdef uint32_t room
    cdef uint32_t taken = 0
    c.sink = NULL
    c.sink_task = NULL
    memcpy(c.sink_header, header, BHS_BYTES)
    if header[0] & OPCODE_MASK == SCSI_COMMAND:
        scsi_command(core, c, header, NULL, length, False)
    else:
        data_out(core, c, header, NULL, length, False)
    c.sink_length = length
    c.sink_left = length
    c.sink_tail = padded(length) - length + (4 if c.data_digest else 0)
    c.sink_crc = CRC_START
    if have > length:
        have = length
    while taken < have:
        sink_place(core, c, &place, &room)
        if room > have - taken:
            room = have - taken
        memcpy(place, header + head + taken, room)
        sink_received(core, c, room)
        taken += room
    return taken


cdef void close_sink(Core* core, Connection* c, const uint8_t* tail) noexcept nogil:
    """All data of the long PDU is here, and its padding and digest at `tail`."""
    cdef Task* task = c.sink_task
    cdef uint32_t padding = padded(c.sink_length) - c.sink_length
    c.sink_tail = 0
    c.sink_length = 0
    c.sink_task = NULL
    c.sink = NULL
    if c.data_digest and not crc_matches(crc_update(c.sink_crc, tail, padding), tail + padding):
        if task != NULL:
            bad_digest(core, c, c.sink_header, task)
        else:
            core.counters.digest_errors += 1
    elif task != NULL:
        data_arrived(core, task, data_length(c.sink_header),
                     (c.sink_header[FLAGS] & FINAL) != 0
                     or (c.initial_r2t and c.sink_header[0] & OPCODE_MASK == SCSI_COMMAND))


# --- framing ---

cdef inline void take(Core* core, Connection* c, const uint8_t* header, const uint8_t* data, uint32_t length) noexcept nogil:
    """A whole PDU whose header is right."""
    if c.data_digest and length and not crc_matches(crc_update(CRC_START, data, padded(length)), data + padded(length)):
        bad_digest(core, c, header, NULL)
    else:
        dispatch(core, c, header, data, length)


cdef uint32_t head_bytes(Connection* c, const uint8_t* header, uint32_t have) noexcept nogil:
    """Bytes in front of the data of a PDU that is all there and may be acted on; 0: none, or not yet."""
    cdef uint32_t head
    cdef uint32_t data
    if have < BHS_BYTES:
        return 0
    head = head_length(header)
    data = data_length(header)
    if data > c.max_receive_segment or have < head + (4 if c.header_digest else 0):
        return 0
    if c.header_digest:
        if not crc_matches(crc_update(CRC_START, header, head), header + head):
            return 0
        head += 4
    return head if have >= whole_bytes(c, head, data) else 0


cdef inline uint32_t whole_bytes(Connection* c, uint32_t head, uint32_t data) noexcept nogil:
    """A PDU with padding and data digest."""
    return head + padded(data) + (4 if c.data_digest and data else 0)


cdef uint32_t pass_by(Core* core, Connection* c, uint8_t* buffer, uint32_t length, bint* complete) noexcept nogil:
    """The first PDU must wait for commands before it: takes those behind it that need not (ordering.pyx).

    What waits moves towards the end of the buffer, over the place of what was taken; returns where it begins now.
    `complete` becomes False when the batch was full: call it again after a flush.
    """
    cdef uint32_t start = 0
    cdef uint32_t here = 0
    cdef uint32_t head
    cdef uint32_t whole
    complete[0] = True
    while not c.closing:
        head = head_bytes(c, buffer + here, length - here)
        if head == 0:
            break
        whole = whole_bytes(c, head, data_length(buffer + here))
        if here > start and need_not_wait(c, buffer + here):
            if c.send_first != NULL:
                send_queued(core, c)
            if c.send_first != NULL or not has_room(core.batch):
                complete[0] = False
                break
            take(core, c, buffer + here, buffer + here + head, data_length(buffer + here))
            memmove(buffer + start + whole, buffer + start, here - start)
            start += whole
        here += whole
    return start


cdef uint32_t consume(Core* core, Connection* connection, uint8_t* buffer, uint32_t length, bint* needs_input) noexcept nogil:
    cdef Connection* c = connection
    cdef uint8_t* header
    cdef uint32_t used = 0
    cdef uint32_t have
    cdef uint32_t head
    cdef uint32_t data
    cdef uint32_t whole
    cdef bint complete
    needs_input[0] = False
    while not c.closing:
        if c.send_first != NULL:
            send_queued(core, c)
            if c.send_first != NULL:
                return used
        if not has_room(core.batch):
            return used
        header = buffer + used
        have = length - used
        if c.sink_length:
            if c.sink_left or have < c.sink_tail:
                break
            used += c.sink_tail
            close_sink(core, c, header)
            continue
        if have < BHS_BYTES:
            break
        head = head_length(header)
        data = data_length(header)
        if data > c.max_receive_segment:        # decided by the header alone: nothing of it is collected
            protocol_error(core, c, header, head if head <= have else BHS_BYTES, REJECT_PROTOCOL_ERROR)
            return used
        if have < head + (4 if c.header_digest else 0):
            break
        if c.header_digest:
            if not crc_matches(crc_update(CRC_START, header, head), header + head):
                core.counters.digest_errors += 1
                c.closing = True                # the length itself may be wrong: the stream can't be trusted
                c.reason = CLOSE_DIGEST
                return used
            head += 4
        if c.session.multiple and out_of_order(c.session, header):
            stall(core, c, get32(header + CMD_SN))
            used += pass_by(core, c, header, have, &complete)
            if not complete:
                return used
            break
        whole = whole_bytes(c, head, data)
        if have < whole:
            if data < <uint32_t>SINK_BYTES_MIN or (header[0] & OPCODE_MASK != SCSI_COMMAND
                                                   and header[0] & OPCODE_MASK != DATA_OUT):
                break
            used += head + open_sink(core, c, header, head, data, have - head)
            continue
        used += whole
        take(core, c, header, header + head, data)
    if c.closing:
        return used
    if c.send_first != NULL:
        send_queued(core, c)
    needs_input[0] = c.send_first == NULL
    return used
