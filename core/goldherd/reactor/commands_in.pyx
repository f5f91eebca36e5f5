"""What a reactor does with the letters in its box: new connections, replies, aborts, finished jobs."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close

from goldherd.native.limits cimport COMMAND_WINDOW
from goldherd.session.core cimport (
    ABORT_ONE, ABORT_UNIT, CLOSE_ALONE, CLOSE_LOGOUT, CLOSE_MEMORY, NOBODY, TaskJob)
from goldherd.session.messages cimport (
    LETTER_ABORT, LETTER_ATTACH, LETTER_CLOSE, LETTER_CLOSE_ALONE, LETTER_CLOSED, LETTER_DONE, LETTER_FENCE,
    LETTER_JOB, LETTER_NUMBERED, LETTER_EXPECT, LETTER_PDU, LETTER_PROCEED, LETTER_REPLY, LETTER_WAKE, make_letter,
    post)
from goldherd.session.ordering cimport skip
from goldherd.session.pools cimport (
    connection_of, enqueue, join_session, leave_session, release_connection, release_task, run_soon, session_of,
    take_connection, take_session, take_task, task_of)
from goldherd.session.tasks cimport abort_task, conclude, give_back, job_done, report_closed, serve_waiting, unpark
from goldherd.scsi.cdb cimport Extent, VERB_READ, decode
from goldherd.session.state cimport (
    Fence, FenceLink, NexusState, PHASE_PDU, PHASE_POOL, PHASE_PYTHON, PHASE_READ, PHASE_REPLY, PURPOSE_PDU,
    PURPOSE_READ, Session, Task, max_cmd_sn)
from goldherd.wire.opcodes cimport COMMAND_READ
from goldherd.wire.pdu cimport before


cdef Connection* by_token(Core* core, uint64_t token, uint32_t link) noexcept nogil:
    cdef Session* session = session_of(core, token)
    return connection_of(session, link) if session != NULL else NULL


cdef void report_over(Core* core, Letter* letter, int reason, bint last) noexcept nogil:
    """The connection or session that a letter is about is over without one of ours that could say so."""
    cdef Letter* answer = make_letter(LETTER_CLOSED, 0)
    if answer != NULL:
        answer.token = letter.token
        answer.link = letter.link
        answer.last = last
        answer.value = reason
        post(core.outbox, answer)


cdef void refuse(Core* core, Letter* letter) noexcept nogil:
    """A new connection that can't be had ends before it began: no memory, or the session it joins has ended."""
    close((<Attachment*>letter.payload).fd)
    give_up_place(core, session_of(core, letter.token), (<Attachment*>letter.payload).takes_kept)
    if session_of(core, letter.token) == NULL:
        report_over(core, letter, CLOSE_LOGOUT, True)
    else:
        report_over(core, letter, CLOSE_MEMORY, False)


cdef void give_up_place(Core* core, Session* session, bint kept) noexcept nogil:
    """The place that was kept for a connection is not needed any more."""
    if session != NULL and kept and session.kept:
        session.kept = False
        leave_session(core, session)


cdef Session* begin_session(Core* core, Letter* letter) noexcept nogil:
    cdef Attachment* given = <Attachment*>letter.payload
    cdef Session* session = take_session(core, letter.token, given.lun_count)
    if session != NULL:
        session.exp_cmd_sn = given.exp_cmd_sn
        session.window = COMMAND_WINDOW
        session.max_cmd_sn = given.exp_cmd_sn + <uint32_t>COMMAND_WINDOW - 1
        memcpy(session.luns, letter.payload + sizeof(Attachment), given.lun_count * sizeof(NexusState*))
    return session


cdef Connection* attach(Core* core, Letter* letter) noexcept nogil:
    cdef Attachment* given = <Attachment*>letter.payload
    cdef NexusState** luns = <NexusState**>(letter.payload + sizeof(Attachment))
    cdef Connection* c = take_connection(core)
    cdef Session* session = NULL
    if c == NULL:
        return NULL
    if given.residual_bytes:
        c.residue = <char*>malloc(given.residual_bytes)
        c.residue_room = given.residual_bytes
    if given.residual_bytes == 0 or c.residue != NULL:
        session = session_of(core, letter.token) if given.joins else begin_session(core, letter)
    if session == NULL:
        release_connection(core, c)
        return NULL
    join_session(session, c)
    give_up_place(core, session, given.takes_kept)
    c.link = letter.link
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
        c = by_token(core, letter.token, letter.link)
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
            elif letter.kind == LETTER_FENCE:
                hit = hit and c.session.token == letter.token and task.purpose != PURPOSE_READ
            if letter.kind == LETTER_ABORT:
                hit = hit and (letter.number == ABORT_UNIT or c.session.token == letter.token)
                if letter.number == ABORT_ONE:
                    hit = hit and task.itt == letter.itt
                # Only what came before the request is meant; by its number, if another connection brought it.
                hit = hit and (letter.tag == 0 or (<int32_t>(<uint32_t>task.serial - letter.tag) <= 0
                                                   and (task.immediate or not letter.numbered
                                                        or before(task.cmd_sn, letter.cmd_sn))))
            if hit:
                if task.phase == PHASE_POOL:
                    wait_for(task, fence)
                # Jobs of a connection that has closed may still write: they are waited for too.
                if letter.kind == LETTER_ABORT and not task.aborted and not c.closed:
                    fence.found += 1
                    abort_task(core, task)
            task = older
    if letter.kind == LETTER_ABORT and letter.number == ABORT_ONE and fence.found == 0:
        fence.found = skip_lost(core, letter)
    settle(core, fence)


cdef bint skip_lost(Core* core, Letter* letter) noexcept nogil:
    """ABORT TASK of a command that has not come: its number counts as received (RFC 7143 11.5.1)."""
    cdef Session* session = session_of(core, letter.token)
    return session != NULL and session.multiple and skip(core, session, letter.value, letter.cmd_sn)


cdef void expect_connection(Core* core, Letter* letter) noexcept nogil:
    cdef Session* session = session_of(core, letter.token)
    cdef Letter* answer = make_letter(LETTER_NUMBERED, 0)
    if answer == NULL:
        return
    answer.token = letter.serial            # the fence
    if session != NULL:
        session.multiple = True             # before the initiator learns that it may use it: gaps may come first
        answer.tag = 1
        answer.number = session.exp_cmd_sn
        answer.value = max_cmd_sn(session)
    post(core.outbox, answer)


cdef Connection* close_session(Core* core, Letter* letter) noexcept nogil:
    """The connection with which the session ends; a session without one, whose place was kept, ends here."""
    cdef Session* session = session_of(core, letter.token)
    cdef Connection* c
    if session == NULL:
        return NULL
    c = connection_of(session, NOBODY)
    if c != NULL:
        c.reason = CLOSE_LOGOUT
    elif session.kept and session.connections == 1:     # a closed connection that still has jobs reports by itself
        report_over(core, letter, CLOSE_LOGOUT, True)
    give_up_place(core, session, True)
    return c


cdef Connection* close_alone(Core* core, Letter* letter) noexcept nogil:
    """One connection; `number` says that another one will take its place."""
    cdef Connection* c = by_token(core, letter.token, letter.link)
    if c == NULL:
        return NULL
    c.reason = CLOSE_ALONE
    if letter.number and not c.session.kept:
        c.session.kept = True
        c.session.connections += 1
    return c


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
        c = close_session(core, letter)
        ends[0] = c != NULL
    elif letter.kind == LETTER_CLOSE_ALONE:
        c = close_alone(core, letter)
        ends[0] = c != NULL
    elif letter.kind == LETTER_EXPECT:
        expect_connection(core, letter)
    elif letter.kind == LETTER_ABORT or letter.kind == LETTER_FENCE:
        raise_fence(core, letter)
    elif letter.kind == LETTER_WAKE:
        unpark(core)
    elif letter.kind == LETTER_JOB:
        job_over(core, letter)
    free(letter)
    return c
