"""How a reactor acts on messages of the control plane: new connections, replies, aborts, finished jobs."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close

from goldherd.native.limits cimport COMMAND_WINDOW
from goldherd.session.core cimport (
    ABORT_ONE, ABORT_UNIT, ANY_CONNECTION, CLOSE_ALONE, CLOSE_LOGOUT, CLOSE_MEMORY, NO_TASK, TaskJob)
from goldherd.session.messages cimport (
    MESSAGE_ABORT, MESSAGE_ATTACH, MESSAGE_CLOSE, MESSAGE_CLOSE_ALONE, MESSAGE_CLOSED, MESSAGE_DONE, MESSAGE_DRAIN,
    MESSAGE_JOB, MESSAGE_NUMBERED, MESSAGE_EXPECT, MESSAGE_PDU, MESSAGE_PROCEED, MESSAGE_REPLY, MESSAGE_WAKE, make_message,
    post)
from goldherd.session.ordering cimport skip
from goldherd.session.connections cimport (
    connection_of, join_session, leave_session, release_connection, session_of, take_connection, take_session)
from goldherd.session.memory cimport release_task, take_task, task_of
from goldherd.session.queues cimport enqueue, run_soon
from goldherd.session.tasks cimport (
    abort_task, conclude, give_back, grant_buffers, job_done, report_closed, retry_suspended)
from goldherd.scsi.cdb cimport Extent, VERB_READ, decode
from goldherd.session.state cimport (
    Drain, DrainEntry, NexusState, PHASE_PDU, PHASE_POOL, PHASE_CONTROL, PHASE_READ, PHASE_REPLY, PURPOSE_PDU,
    PURPOSE_READ, Session, Task, max_cmd_sn)
from goldherd.wire.opcodes cimport COMMAND_READ
from goldherd.wire.pdu cimport before


cdef Connection* connection_in(Core* core, uint64_t session_id, uint32_t number) noexcept nogil:
    cdef Session* session = session_of(core, session_id)
    return connection_of(session, number) if session != NULL else NULL


cdef void report_over(Core* core, Message* message, int reason, bint last) noexcept nogil:
    """The connection or session of a message is over, without a Connection that could report it."""
    cdef Message* answer = make_message(MESSAGE_CLOSED, 0)
    if answer != NULL:
        answer.session_id = message.session_id
        answer.connection = message.connection
        answer.last = last
        answer.value = reason
        post(core.events, answer)


cdef void refuse(Core* core, Message* message) noexcept nogil:
    """A new connection that can't be had ends before it began: no memory, or the session it joins has ended."""
    close((<Attachment*>message.payload).fd)
    end_reinstatement(core, session_of(core, message.session_id), (<Attachment*>message.payload).reinstates)
    if session_of(core, message.session_id) == NULL:
        report_over(core, message, CLOSE_LOGOUT, True)
    else:
        report_over(core, message, CLOSE_MEMORY, False)


cdef void end_reinstatement(Core* core, Session* session, bint reinstates) noexcept nogil:
    """No place is needed any more for a connection that would replace another one."""
    if session != NULL and reinstates and session.reinstating:
        session.reinstating = False
        leave_session(core, session)


cdef Session* begin_session(Core* core, Message* message) noexcept nogil:
    cdef Attachment* given = <Attachment*>message.payload
    cdef Session* session = take_session(core, message.session_id, given.lun_count)
    if session != NULL:
        session.exp_cmd_sn = given.exp_cmd_sn
        session.window = COMMAND_WINDOW
        session.max_cmd_sn = given.exp_cmd_sn + <uint32_t>COMMAND_WINDOW - 1
        memcpy(session.luns, message.payload + sizeof(Attachment), given.lun_count * sizeof(NexusState*))
    return session


cdef Connection* attach(Core* core, Message* message) noexcept nogil:
    cdef Attachment* given = <Attachment*>message.payload
    cdef NexusState** luns = <NexusState**>(message.payload + sizeof(Attachment))
    cdef Connection* c = take_connection(core)
    cdef Session* session = NULL
    if c == NULL:
        return NULL
    if given.residual_bytes:
        c.residue = <char*>malloc(given.residual_bytes)
        c.residue_room = given.residual_bytes
    if given.residual_bytes == 0 or c.residue != NULL:
        session = session_of(core, message.session_id) if given.joins else begin_session(core, message)
    if session == NULL:
        release_connection(core, c)
        return NULL
    join_session(session, c)
    end_reinstatement(core, session, given.reinstates)
    c.number = message.connection
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


cdef void reply(Core* core, Message* message) noexcept nogil:
    """The outcome of a command from the control plane; the message's memory becomes the task's."""
    cdef Task* task = task_of(core, message.tag)
    cdef uint32_t data
    if task == NULL or task.phase != PHASE_CONTROL or task.connection.session.id != message.session_id:
        free(message)
        return
    if task.aborted:
        release_task(core, task)
        free(message)
        return
    give_back(core, task)
    grant_buffers(core)
    free(task.owned)
    task.owned = message
    task.buffer = <char*>message.payload
    task.sense_bytes = <uint8_t>message.sense_bytes
    task.status = <uint8_t>message.status
    task.loaded = False
    data = message.bytes - message.sense_bytes
    if task.purpose != PURPOSE_READ:        # until now it counted Data-Out
        task.data_sn = 0
    if message.number:                       # a write: what was moved came from the initiator
        task.cdb_bytes = message.value
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


cdef void proceed(Core* core, Message* message) noexcept nogil:
    """The control plane has nothing against this read: it is served like any other, without a copy of its data."""
    cdef Task* task = task_of(core, message.tag)
    cdef Extent extent
    if task == NULL or task.phase != PHASE_CONTROL or task.connection.session.id != message.session_id:
        return
    if task.aborted:
        release_task(core, task)
        return
    give_back(core, task)
    grant_buffers(core)
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


cdef void send_pdu(Core* core, Message* message) noexcept nogil:
    """A PDU of the control plane: the answer to a request, or one on its own."""
    cdef Task* task = NULL
    cdef Connection* c
    if message.tag != <uint32_t>NO_TASK:
        task = task_of(core, message.tag)
        if task == NULL or task.phase != PHASE_CONTROL or task.connection.session.id != message.session_id:
            free(message)
            return
    else:
        c = connection_in(core, message.session_id, message.connection)
        if c != NULL:
            task = take_task(core, c)
        if task == NULL:
            free(message)
            return
    if message.value:                        # MaxRecvDataSegmentLength was declared anew
        task.connection.max_send_segment = message.value & ~<uint32_t>511
    if message.bytes == 0:                   # nothing to say: the request is settled
        release_task(core, task)
        free(message)
        return
    free(task.owned)
    task.owned = message
    task.purpose = PURPOSE_PDU
    task.buffer = <char*>message.payload
    task.flags = <uint8_t>message.number
    enqueue(core, task, PHASE_PDU)


cdef bint wait_for(Task* task, Drain* drain) noexcept nogil:
    cdef DrainEntry* entry = <DrainEntry*>malloc(sizeof(DrainEntry))
    if entry == NULL:
        return False
    entry.drain = drain
    entry.next = task.drains
    task.drains = entry
    drain.waiting += 1
    return True


cdef void settle(Core* core, Drain* drain) noexcept nogil:
    """Reports a drain that waits for no job any more."""
    cdef Message* message
    if drain.waiting:
        return
    message = make_message(MESSAGE_DONE, 0)
    if message != NULL:
        message.session_id = drain.request_id
        message.value = drain.found
        post(core.events, message)
    free(drain)


cdef void begin_drain(Core* core, Message* message) noexcept nogil:
    """MESSAGE_DRAIN and MESSAGE_ABORT: look at every live task, end those meant, wait for those that work."""
    cdef Drain* drain = <Drain*>calloc(1, sizeof(Drain))
    cdef uint32_t i
    cdef Connection* c
    cdef Task* task
    cdef Task* older
    cdef bint hit
    if drain == NULL:
        return
    drain.request_id = message.serial
    for i in range(core.connection_room):
        c = core.connections[i]
        if c == NULL:
            continue
        task = c.session.newest
        while task != NULL:
            older = task.older
            hit = task.connection == c and task.purpose != PURPOSE_PDU and task.nexus != NULL
            if message.place != NULL:
                hit = hit and task.nexus.unit == message.place
            elif message.kind == MESSAGE_DRAIN:
                hit = hit and c.session.id == message.session_id and task.purpose != PURPOSE_READ
            if message.kind == MESSAGE_ABORT:
                hit = hit and (message.number == ABORT_UNIT or c.session.id == message.session_id)
                if message.number == ABORT_ONE:
                    hit = hit and task.itt == message.itt
                # Only what came before the request is meant; by its number, if another connection brought it.
                hit = hit and (message.tag == 0 or (<int32_t>(<uint32_t>task.serial - message.tag) <= 0
                                                   and (task.immediate or not message.numbered
                                                        or before(task.cmd_sn, message.cmd_sn))))
            if hit:
                if task.phase == PHASE_POOL:
                    wait_for(task, drain)
                # Jobs of a connection that has closed may still write: they are waited for too.
                if message.kind == MESSAGE_ABORT and not task.aborted and not c.closed:
                    drain.found += 1
                    abort_task(core, task)
            task = older
    if message.kind == MESSAGE_ABORT and message.number == ABORT_ONE and drain.found == 0:
        drain.found = skip_lost(core, message)
    settle(core, drain)


cdef bint skip_lost(Core* core, Message* message) noexcept nogil:
    """ABORT TASK of a command that has not come: its number counts as received (RFC 7143 11.5.1)."""
    cdef Session* session = session_of(core, message.session_id)
    return session != NULL and session.multiple and skip(core, session, message.value, message.cmd_sn)


cdef void expect_connection(Core* core, Message* message) noexcept nogil:
    cdef Session* session = session_of(core, message.session_id)
    cdef Message* answer = make_message(MESSAGE_NUMBERED, 0)
    if answer == NULL:
        return
    answer.session_id = message.serial      # the request
    if session != NULL:
        session.multiple = True             # before the initiator learns that it may use it: gaps may come first
        answer.tag = 1
        answer.number = session.exp_cmd_sn
        answer.value = max_cmd_sn(session)
    post(core.events, answer)


cdef Connection* close_session(Core* core, Message* message) noexcept nogil:
    """The connection with which the session ends; a session that only waits for a replacement ends here."""
    cdef Session* session = session_of(core, message.session_id)
    cdef Connection* c
    if session == NULL:
        return NULL
    c = connection_of(session, ANY_CONNECTION)
    if c != NULL:
        c.reason = CLOSE_LOGOUT
    elif session.reinstating and session.connections == 1:     # a closed connection that still has jobs reports by itself
        report_over(core, message, CLOSE_LOGOUT, True)
    end_reinstatement(core, session, True)
    return c


cdef Connection* close_alone(Core* core, Message* message) noexcept nogil:
    """One connection; `number` says that another one will replace it."""
    cdef Connection* c = connection_in(core, message.session_id, message.connection)
    if c == NULL:
        return NULL
    c.reason = CLOSE_ALONE
    if message.number and not c.session.reinstating:
        c.session.reinstating = True
        c.session.connections += 1
    return c


cdef void job_over(Core* core, Message* message) noexcept nogil:
    cdef TaskJob* work = <TaskJob*>message.place
    cdef Task* task = work.task
    cdef Connection* c = task.connection
    cdef DrainEntry* entry
    c.jobs -= 1
    while task.drains != NULL:
        entry = task.drains
        task.drains = entry.next
        entry.drain.waiting -= 1
        settle(core, entry.drain)
        free(entry)
    if c.closed or task.aborted:
        release_task(core, task)
        grant_buffers(core)
        if c.closed and c.jobs == 0:
            report_closed(core, c)
    else:
        job_done(core, task, work.operation, work.result)
    free(work)


cdef Connection* act(Core* core, Message* message, bint* ends) noexcept nogil:
    cdef Connection* c = NULL
    ends[0] = False
    if message.kind == MESSAGE_ATTACH:
        c = attach(core, message)
        if c == NULL:
            refuse(core, message)
    elif message.kind == MESSAGE_REPLY:
        reply(core, message)
        return NULL
    elif message.kind == MESSAGE_PROCEED:
        proceed(core, message)
    elif message.kind == MESSAGE_PDU:
        send_pdu(core, message)
        return NULL
    elif message.kind == MESSAGE_CLOSE:
        c = close_session(core, message)
        ends[0] = c != NULL
    elif message.kind == MESSAGE_CLOSE_ALONE:
        c = close_alone(core, message)
        ends[0] = c != NULL
    elif message.kind == MESSAGE_EXPECT:
        expect_connection(core, message)
    elif message.kind == MESSAGE_ABORT or message.kind == MESSAGE_DRAIN:
        begin_drain(core, message)
    elif message.kind == MESSAGE_WAKE:
        retry_suspended(core)
    elif message.kind == MESSAGE_JOB:
        job_over(core, message)
    free(message)
    return c
