"""What a reactor does with the letters in its box: new connections, replies, aborts, finished jobs."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close

from goldherd.limits cimport COMMAND_WINDOW
from goldherd.reactor.core cimport (
    ABORT_ONE, ABORT_UNIT, CLOSE_LOGOUT, CLOSE_MEMORY, NOBODY, TaskJob)
from goldherd.reactor.mailbox cimport (
    LETTER_ABORT, LETTER_ATTACH, LETTER_CLOSE, LETTER_CLOSED, LETTER_DONE, LETTER_FENCE, LETTER_JOB, LETTER_PDU,
    LETTER_PROCEED, LETTER_REPLY, LETTER_WAKE, make_letter, post)
from goldherd.reactor.slots cimport (
    connection_of, enqueue, release_connection, release_task, run_soon, take_connection, take_task, task_of)
from goldherd.reactor.tasks cimport abort_task, conclude, give_back, job_done, report_closed, serve_waiting, unpark
from goldherd.scsi.cdb cimport Extent, VERB_READ, decode
from goldherd.session.session cimport (
    Fence, FenceLink, NexusState, PHASE_PDU, PHASE_POOL, PHASE_PYTHON, PHASE_READ, PHASE_REPLY, PURPOSE_PDU,
    PURPOSE_READ, Session, Task)
from goldherd.wire.opcodes cimport COMMAND_READ


cdef Connection* by_token(Core* core, uint64_t token) noexcept nogil:
    cdef uint32_t i
    for i in range(core.connection_room):
        if core.connections[i] != NULL and not core.connections[i].closed:
            if core.connections[i].session.token == token:
                return core.connections[i]
    return NULL


cdef void refuse(Core* core, Letter* letter) noexcept nogil:
    """No memory for a new connection: it ends before it began."""
    cdef Letter* answer = make_letter(LETTER_CLOSED, 0)
    close((<Attachment*>letter.payload).fd)
    if answer != NULL:
        answer.token = letter.token
        answer.value = CLOSE_MEMORY
        post(core.outbox, answer)


cdef Connection* attach(Core* core, Letter* letter) noexcept nogil:
    cdef Attachment* given = <Attachment*>letter.payload
    cdef NexusState** luns = <NexusState**>(letter.payload + sizeof(Attachment))
    cdef Connection* c = take_connection(core)
    cdef Session* session
    if c == NULL:
        return NULL
    session = <Session*>calloc(1, sizeof(Session))
    if session == NULL:
        release_connection(core, c)
        return NULL
    c.session = session
    session.connections = 1
    session.token = letter.token
    session.exp_cmd_sn = given.exp_cmd_sn
    session.window = COMMAND_WINDOW
    session.max_cmd_sn = given.exp_cmd_sn + <uint32_t>COMMAND_WINDOW - 1
    session.lun_count = given.lun_count
    session.luns = <NexusState**>calloc(given.lun_count + 1, sizeof(NexusState*))
    if given.residual_bytes:
        c.residue = <char*>malloc(given.residual_bytes)
        c.residue_room = given.residual_bytes
    if session.luns == NULL or (given.residual_bytes and c.residue == NULL):
        release_connection(core, c)
        return NULL
    memcpy(session.luns, luns, given.lun_count * sizeof(NexusState*))
    if given.residual_bytes:
        memcpy(c.residue, <char*>(luns + given.lun_count), given.residual_bytes)
        c.residue_bytes = given.residual_bytes
        c.residue_whole = True
    c.fd = given.fd
    c.stat_sn = given.stat_sn
    # Whole sectors per PDU and per burst, so that a backend never sees less than a sector.
    c.max_send_segment = given.max_send_segment & ~<uint32_t>511
    c.max_burst = given.max_burst & ~<uint32_t>511
    c.max_receive_segment = given.max_receive_segment
    c.first_burst = given.first_burst
    c.initial_r2t = given.initial_r2t
    c.immediate_data = given.immediate_data
    c.header_digest = given.header_digest
    c.data_digest = given.data_digest
    c.input_ms = core.now_ms
    run_soon(core, c)
    return c


cdef void reply(Core* core, Letter* letter) noexcept nogil:
    """The outcome of a command from the control plane; the letter's memory becomes the task's."""
    cdef Task* task = task_of(core, letter.tag)
    cdef uint32_t data
    if task == NULL or task.phase != PHASE_PYTHON or task.connection.session.token != letter.token:
        free(letter)
        return
    if task.aborted:
        release_task(core, task)
        free(letter)
        return
    give_back(core, task)
    serve_waiting(core)
    free(task.owned)
    task.owned = letter
    task.buffer = <char*>letter.payload
    task.sense_bytes = <uint8_t>letter.sense_bytes
    task.status = <uint8_t>letter.status
    task.loaded = False
    data = letter.bytes - letter.sense_bytes
    if task.purpose != PURPOSE_READ:        # until now it counted Data-Out
        task.data_sn = 0
    if letter.number:                       # a write: what was moved came from the initiator
        task.cdb_bytes = letter.value
        task.move = 0
    elif task.purpose == PURPOSE_READ:      # it failed: what was sent before counts for the residual
        task.cdb_bytes = task.done
        task.move = 0
    else:
        if data and not task.flags & COMMAND_READ:
            task.expected = 0               # the initiator has no buffer for it (RFC 7143 11.3.5)
        task.cdb_bytes = data
        task.move = data if data < task.expected else task.expected
    task.done = 0
    task.burst_left = task.connection.max_burst
    enqueue(core, task, PHASE_REPLY)


cdef void proceed(Core* core, Letter* letter) noexcept nogil:
    """The control plane has nothing against this read: it is served like any other, without a copy of its data."""
    cdef Task* task = task_of(core, letter.tag)
    cdef Extent extent
    if task == NULL or task.phase != PHASE_PYTHON or task.connection.session.token != letter.token:
        return
    if task.aborted:
        release_task(core, task)
        return
    give_back(core, task)
    serve_waiting(core)
    if task.nexus == NULL or decode(task.cdb, &extent) != VERB_READ:
        conclude(core, task, 0x08)          # BUSY; the control plane proceeds with nothing but reads
        return
    task.purpose = PURPOSE_READ
    task.offset = extent.lba << task.nexus.unit.block_shift
    task.cdb_bytes = extent.blocks << task.nexus.unit.block_shift
    task.move = task.cdb_bytes if task.cdb_bytes < task.expected else task.expected
    task.done = 0
    core.counters.reads += 1
    if task.move:
        enqueue(core, task, PHASE_READ)
    else:
        conclude(core, task, 0)


cdef void send_pdu(Core* core, Letter* letter) noexcept nogil:
    """A PDU of the control plane: the answer to a request, or one on its own."""
    cdef Task* task = NULL
    cdef Connection* c
    if letter.tag != <uint32_t>NOBODY:
        task = task_of(core, letter.tag)
        if task == NULL or task.phase != PHASE_PYTHON or task.connection.session.token != letter.token:
            free(letter)
            return
    else:
        c = by_token(core, letter.token)
        if c != NULL:
            task = take_task(core, c)
        if task == NULL:
            free(letter)
            return
    if letter.value:                        # MaxRecvDataSegmentLength was declared anew
        task.connection.max_send_segment = letter.value & ~<uint32_t>511
    if letter.bytes == 0:                   # nothing to say: the request is settled
        release_task(core, task)
        free(letter)
        return
    free(task.owned)
    task.owned = letter
    task.purpose = PURPOSE_PDU
    task.buffer = <char*>letter.payload
    task.flags = <uint8_t>letter.number
    enqueue(core, task, PHASE_PDU)


cdef bint wait_for(Task* task, Fence* fence) noexcept nogil:
    cdef FenceLink* link = <FenceLink*>malloc(sizeof(FenceLink))
    if link == NULL:
        return False
    link.fence = fence
    link.next = task.fences
    task.fences = link
    fence.waiting += 1
    return True


cdef void settle(Core* core, Fence* fence) noexcept nogil:
    """Reports a fence that waits for nobody any more."""
    cdef Letter* letter
    if fence.waiting:
        return
    letter = make_letter(LETTER_DONE, 0)
    if letter != NULL:
        letter.token = fence.token
        letter.value = fence.found
        post(core.outbox, letter)
    free(fence)


cdef void raise_fence(Core* core, Letter* letter) noexcept nogil:
    """LETTER_FENCE and LETTER_ABORT: look at every live task, end those meant, wait for those that work."""
    cdef Fence* fence = <Fence*>calloc(1, sizeof(Fence))
    cdef uint32_t i
    cdef Connection* c
    cdef Task* task
    cdef Task* older
    cdef bint hit
    if fence == NULL:
        return
    fence.token = letter.serial
    for i in range(core.connection_room):
        c = core.connections[i]
        if c == NULL:
            continue
        task = c.session.newest
        while task != NULL:
            older = task.older
            hit = task.connection == c and task.purpose != PURPOSE_PDU and task.nexus != NULL
            if letter.place != NULL:
                hit = hit and task.nexus.unit == letter.place
            if letter.kind == LETTER_ABORT:
                hit = hit and (letter.number == ABORT_UNIT or c.session.token == letter.token)
                if letter.number == ABORT_ONE:
                    hit = hit and task.itt == letter.itt
                hit = hit and (letter.tag == 0 or <int32_t>(<uint32_t>task.serial - letter.tag) <= 0)
            if hit:
                if task.phase == PHASE_POOL:
                    wait_for(task, fence)
                # Jobs of a connection that has closed may still write: they are waited for too.
                if letter.kind == LETTER_ABORT and not task.aborted and not c.closed:
                    fence.found += 1
                    abort_task(core, task)
            task = older
    settle(core, fence)


cdef void job_over(Core* core, Letter* letter) noexcept nogil:
    cdef TaskJob* work = <TaskJob*>letter.place
    cdef Task* task = work.task
    cdef Connection* c = task.connection
    cdef FenceLink* link
    c.jobs -= 1
    while task.fences != NULL:
        link = task.fences
        task.fences = link.next
        link.fence.waiting -= 1
        settle(core, link.fence)
        free(link)
    if c.closed or task.aborted:
        release_task(core, task)
        serve_waiting(core)
        if c.closed and c.jobs == 0:
            report_closed(core, c)
    else:
        job_done(core, task, work.operation, work.result)
    free(work)


cdef Connection* act(Core* core, Letter* letter, bint* ends) noexcept nogil:
    cdef Connection* c = NULL
    ends[0] = False
    if letter.kind == LETTER_ATTACH:
        c = attach(core, letter)
        if c == NULL:
            refuse(core, letter)
    elif letter.kind == LETTER_REPLY:
        reply(core, letter)
        return NULL
    elif letter.kind == LETTER_PROCEED:
        proceed(core, letter)
    elif letter.kind == LETTER_PDU:
        send_pdu(core, letter)
        return NULL
    elif letter.kind == LETTER_CLOSE:
        c = by_token(core, letter.token)
        if c != NULL:
            c.reason = CLOSE_LOGOUT
            ends[0] = True
    elif letter.kind == LETTER_ABORT or letter.kind == LETTER_FENCE:
        raise_fence(core, letter)
    elif letter.kind == LETTER_WAKE:
        unpark(core)
    elif letter.kind == LETTER_JOB:
        job_over(core, letter)
    free(letter)
    return c
