"""How a reactor acts on messages of the control plane: new connections, replies, aborts, drains, finished jobs."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.unistd cimport close

from goldherd.native.limits cimport COMMAND_WINDOW
from goldherd.scsi.fastpath.statuses cimport BUSY
from goldherd.scsi.fastpath.cdb cimport Extent, VERB_READ, decode
from goldherd.scsi.fastpath.unit cimport NexusState, UnitState
from goldherd.session.codes cimport CLOSE_ALONE, CLOSE_LOGOUT, CLOSE_MEMORY, PURPOSE_PDU, PURPOSE_READ
from goldherd.session.connections cimport (
    connection_of, join_session, leave_session, release_connection, session_of, take_connection, take_session)
from goldherd.session.core cimport ANY_CONNECTION, NO_TASK, TaskJob
from goldherd.session.memory cimport release_task, take_task, task_of
from goldherd.session.messages cimport (
    AbortSessionMessage, AbortTaskMessage, AbortUnitMessage, AttachMessage, CloseConnectionMessage, CloseSessionMessage,
    DoneMessage, DrainUnitMessage, DrainWritesMessage, ExpectMessage, HoldMessage, JobMessage, MESSAGE_ABORT_SESSION,
    MESSAGE_ABORT_TASK, MESSAGE_ABORT_UNIT, MESSAGE_ATTACH, MESSAGE_CLOSE_CONNECTION, MESSAGE_CLOSE_SESSION,
    MESSAGE_DONE, MESSAGE_DRAIN_UNIT, MESSAGE_DRAIN_WRITES, MESSAGE_EXPECT, MESSAGE_GO_ON, MESSAGE_HOLD, MESSAGE_JOB, MESSAGE_NUMBERED, MESSAGE_PDU,
    MESSAGE_PROCEED, MESSAGE_REPLY, MESSAGE_WAKE, NumberedMessage, PduMessage, ProceedMessage, ReplyMessage,
    make_message, post)
from goldherd.session.ordering cimport skip
from goldherd.session.queues cimport enqueue, run_soon
from goldherd.session.phases cimport PHASE_CONTROL, PHASE_PDU, PHASE_POOL, PHASE_READ, PHASE_REPLY
from goldherd.session.state cimport Drain, DrainEntry, Session, Task, max_cmd_sn
from goldherd.session.tasks cimport (
    abort_task, conclude, give_back, grant_buffers, job_done, post_closed, report_closed, retry_suspended)
from goldherd.wire.opcodes cimport COMMAND_READ, COMMAND_WRITE
from goldherd.wire.pdu cimport before

cdef struct Selection:
    # the tasks that an abort or a drain means
    bint of_session         # those of `session_id` only
    uint64_t session_id
    UnitState* unit         # NULL: on all units
    bint one                # the one with this tag only
    uint32_t itt
    bint changes            # those that may change a disk: no reads
    uint64_t serial         # those up to this one; 0: all
    bint numbered           # those numbered before `cmd_sn`, and immediate ones
    uint32_t cmd_sn


# --- connections ---

cdef Connection* find_connection(Core* core, uint64_t session_id, uint32_t number) noexcept nogil:
    cdef Session* session = session_of(core, session_id)
    return connection_of(session, number) if session != NULL else NULL


cdef void refuse(Core* core, AttachMessage* message) noexcept nogil:
    """A new connection that can't be had ends before it began: no memory, or the session it joins has ended."""
    close(message.fd)
    end_reinstatement(core, session_of(core, message.session_id), message.reinstates)
    if session_of(core, message.session_id) == NULL:
        post_closed(core, message.session_id, message.connection, CLOSE_LOGOUT, True)
    else:
        post_closed(core, message.session_id, message.connection, CLOSE_MEMORY, False)


cdef void end_reinstatement(Core* core, Session* session, bint reinstates) noexcept nogil:
    """No place is needed any more for a connection that would replace another one."""
    if session != NULL and reinstates and session.reinstating:
        session.reinstating = False
        leave_session(core, session)


cdef Session* begin_session(Core* core, AttachMessage* message) noexcept nogil:
    cdef Session* session = take_session(core, message.session_id, message.lun_count)
    if session != NULL:
        session.exp_cmd_sn = message.exp_cmd_sn
        session.window = COMMAND_WINDOW
        session.max_cmd_sn = message.exp_cmd_sn + <uint32_t>COMMAND_WINDOW - 1
        memcpy(session.luns, message.luns, message.lun_count * sizeof(NexusState*))
    return session


cdef Connection* attach(Core* core, AttachMessage* message) noexcept nogil:
    cdef Connection* c = take_connection(core)
    cdef Session* session = NULL
    if c == NULL:
        return NULL
    if message.residual_bytes:
        c.residue = <char*>malloc(message.residual_bytes)
        c.residue_room = message.residual_bytes
    if message.residual_bytes == 0 or c.residue != NULL:
        session = session_of(core, message.session_id) if message.joins else begin_session(core, message)
    if session == NULL:
        release_connection(core, c)
        return NULL
    join_session(session, c)
    end_reinstatement(core, session, message.reinstates)
    c.number = message.connection
    if message.residual_bytes:
        memcpy(c.residue, <char*>(&message.luns[message.lun_count]), message.residual_bytes)
        c.residue_bytes = message.residual_bytes
        c.residue_whole = True
    c.fd = message.fd
    c.stat_sn = message.stat_sn
    # Whole sectors per PDU and per burst, so that a backend never sees less than a sector.
    c.max_send_segment = message.max_send_segment & ~<uint32_t>511
    c.max_burst = message.max_burst & ~<uint32_t>511
    c.max_receive_segment = message.max_receive_segment
    c.first_burst = message.first_burst
    c.initial_r2t = message.initial_r2t
    c.immediate_data = message.immediate_data
    c.header_digest = message.header_digest
    c.data_digest = message.data_digest
    c.input_ms = core.now_ms
    run_soon(core, c)
    return c


cdef void expect_connection(Core* core, ExpectMessage* message) noexcept nogil:
    cdef Session* session = session_of(core, message.session_id)
    cdef NumberedMessage* answer = <NumberedMessage*>make_message(MESSAGE_NUMBERED, sizeof(NumberedMessage), 0)
    if answer == NULL:
        return
    answer.request_id = message.request_id
    if session != NULL:
        session.multiple = True             # before the initiator learns that it may use it: gaps may come first
        answer.known = True
        answer.exp_cmd_sn = session.exp_cmd_sn
        answer.max_cmd_sn = max_cmd_sn(session)
    post(core.events, &answer.head)


cdef Connection* close_session(Core* core, CloseSessionMessage* message) noexcept nogil:
    """The connection with which the session ends; a session that only waits for a replacement ends here."""
    cdef Session* session = session_of(core, message.session_id)
    cdef Connection* c
    if session == NULL:
        return NULL
    c = connection_of(session, ANY_CONNECTION)
    if c != NULL:
        c.reason = CLOSE_LOGOUT
    elif session.reinstating and session.connections == 1:  # a closed connection that still has jobs reports by itself
        post_closed(core, session.id, ANY_CONNECTION, CLOSE_LOGOUT, True)
    end_reinstatement(core, session, True)
    return c


cdef Connection* close_connection(Core* core, CloseConnectionMessage* message) noexcept nogil:
    cdef Connection* c = find_connection(core, message.session_id, message.connection)
    if c == NULL:
        return NULL
    c.reason = CLOSE_ALONE
    if message.reinstated and not c.session.reinstating:
        c.session.reinstating = True
        c.session.connections += 1
    return c


# --- what the control plane has to say about tasks ---

cdef Task* task_in_control(Core* core, uint32_t tag, uint64_t session_id) noexcept nogil:
    """The task of that tag, if it waits for the control plane and is the session's; else the message came too late."""
    cdef Task* task = task_of(core, tag)
    if task == NULL or task.phase != PHASE_CONTROL or task.connection.session.id != session_id:
        return NULL
    return task


cdef void reply(Core* core, ReplyMessage* message) noexcept nogil:
    """The outcome of a command; the message's memory becomes the task's."""
    cdef Task* task = task_in_control(core, message.tag, message.session_id)
    if task == NULL:
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
    task.buffer = message.content
    task.sense_bytes = message.sense_bytes
    task.status = message.status
    task.loaded = False
    if task.purpose != PURPOSE_READ:        # until now it counted Data-Out
        task.data_sn = 0
    if message.takes_data_out:              # what was moved came from the initiator
        if not task.directions & COMMAND_WRITE:
            task.expected = 0               # the initiator has nothing to send (RFC 7143 11.3.5)
        task.cdb_bytes = message.written
        task.move = 0
    elif task.purpose == PURPOSE_READ:      # it failed: what was sent before counts for the residual
        task.cdb_bytes = task.done
        task.move = 0
    else:
        if message.data_bytes and not task.directions & COMMAND_READ:
            task.expected = 0               # the initiator has no buffer for it (RFC 7143 11.3.5)
        task.cdb_bytes = message.data_bytes
        task.move = message.data_bytes if message.data_bytes < task.expected else task.expected
    task.done = 0
    task.burst_left = task.connection.max_burst
    enqueue(core, task, PHASE_REPLY)


cdef void proceed(Core* core, ProceedMessage* message) noexcept nogil:
    """The control plane has nothing against this read: it is served like any other, without a copy of its data."""
    cdef Task* task = task_in_control(core, message.tag, message.session_id)
    cdef Extent extent
    if task == NULL:
        return
    if task.aborted:
        release_task(core, task)
        return
    give_back(core, task)
    grant_buffers(core)
    if task.nexus == NULL or decode(task.cdb, &extent) != VERB_READ:
        conclude(core, task, BUSY)      # the control plane proceeds with nothing but reads
        return
    if not task.directions & COMMAND_READ:
        task.expected = 0                   # no Data-In that was not asked for (RFC 7143 11.3.1)
    task.purpose = PURPOSE_READ
    task.data_sn = 0                        # until now it counted Data-Out
    task.offset = extent.lba << task.nexus.unit.block_shift
    task.cdb_bytes = extent.blocks << task.nexus.unit.block_shift
    task.move = task.cdb_bytes if task.cdb_bytes < task.expected else task.expected
    task.done = 0
    core.counters.reads += 1
    if task.move:
        enqueue(core, task, PHASE_READ)
    else:
        conclude(core, task, 0)


cdef void send_pdu(Core* core, PduMessage* message) noexcept nogil:
    """A PDU of the control plane: the answer to a request, or one on its own. The message's memory becomes the task's."""
    cdef Task* task = NULL
    cdef Connection* c
    if message.tag != <uint32_t>NO_TASK:
        task = task_in_control(core, message.tag, message.session_id)
    else:
        c = find_connection(core, message.session_id, message.connection)
        if c != NULL:
            task = take_task(core, c)
    if task == NULL:
        free(message)
        return
    if message.max_send_segment:
        task.connection.max_send_segment = message.max_send_segment & ~<uint32_t>511
    if message.pdu_bytes == 0:              # nothing to say: the request is settled
        release_task(core, task)
        free(message)
        return
    free(task.owned)
    task.owned = message
    task.purpose = PURPOSE_PDU
    task.buffer = message.pdu
    task.flags = message.flags
    enqueue(core, task, PHASE_PDU)


# --- aborts and drains ---

cdef bint is_meant(Selection* selection, Task* task) noexcept nogil:
    if task.purpose == PURPOSE_PDU or task.nexus == NULL:
        return False
    if selection.unit != NULL and task.nexus.unit != selection.unit:
        return False
    if selection.one and task.itt != selection.itt:
        return False
    if selection.changes and task.purpose == PURPOSE_READ:
        return False
    if selection.serial and task.serial > selection.serial:
        return False
    # Only what came before the request is meant; by its number, if another connection brought it.
    return not selection.numbered or task.immediate or before(task.cmd_sn, selection.cmd_sn)


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
    cdef DoneMessage* message
    if drain.waiting:
        return
    message = <DoneMessage*>make_message(MESSAGE_DONE, sizeof(DoneMessage), 0)
    if message != NULL:
        message.request_id = drain.request_id
        message.found = drain.found
        post(core.events, &message.head)
    free(drain)


cdef Drain* begin_drain(Core* core, uint64_t request_id, Selection* selection, bint aborts) noexcept nogil:
    """Looks at every live task, ends those meant if it `aborts`, and waits for those that work; settle() it then."""
    cdef Drain* drain = <Drain*>calloc(1, sizeof(Drain))
    cdef Session* session
    if drain == NULL:
        return NULL
    drain.request_id = request_id
    if selection.of_session:
        session = session_of(core, selection.session_id)
        if session != NULL:
            drain_session(core, drain, session, selection, aborts)
        return drain
    session = core.sessions
    while session != NULL:
        drain_session(core, drain, session, selection, aborts)
        session = session.next
    return drain


cdef void drain_session(Core* core, Drain* drain, Session* session, Selection* selection, bint aborts) noexcept nogil:
    cdef Task* task = session.newest
    cdef Task* older
    while task != NULL:
        older = task.older
        if is_meant(selection, task):
            if task.phase == PHASE_POOL:
                wait_for(task, drain)
            # Jobs of a connection that has closed may still write: they are waited for too.
            if aborts and not task.aborted and not task.connection.closed:
                drain.found += 1
                abort_task(core, task)
        task = older


cdef void drain_tasks(Core* core, uint64_t request_id, Selection* selection, bint aborts) noexcept nogil:
    cdef Drain* drain = begin_drain(core, request_id, selection, aborts)
    if drain != NULL:
        settle(core, drain)


cdef void abort_one(Core* core, AbortTaskMessage* message) noexcept nogil:
    """ABORT TASK; of a command that has not come, its number counts as received (RFC 7143 11.5.1)."""
    cdef Selection selection
    cdef Session* session
    cdef Drain* drain
    memset(&selection, 0, sizeof(Selection))
    selection.of_session = True
    selection.session_id = message.session_id
    selection.one = True
    selection.itt = message.itt
    drain = begin_drain(core, message.request_id, &selection, True)
    if drain == NULL:
        return
    if drain.found == 0:
        session = session_of(core, message.session_id)
        if session != NULL and session.multiple:
            drain.found = skip(core, session, message.ref_cmd_sn, message.cmd_sn)
    settle(core, drain)


cdef void abort_session(Core* core, AbortSessionMessage* message) noexcept nogil:
    cdef Selection selection
    memset(&selection, 0, sizeof(Selection))
    selection.of_session = True
    selection.session_id = message.session_id
    selection.unit = message.unit
    selection.serial = message.serial
    selection.numbered = message.numbered
    selection.cmd_sn = message.cmd_sn
    drain_tasks(core, message.request_id, &selection, True)


cdef void abort_unit(Core* core, AbortUnitMessage* message) noexcept nogil:
    cdef Selection selection
    memset(&selection, 0, sizeof(Selection))
    selection.unit = message.unit
    drain_tasks(core, message.request_id, &selection, True)


cdef void drain_unit(Core* core, DrainUnitMessage* message) noexcept nogil:
    cdef Selection selection
    memset(&selection, 0, sizeof(Selection))
    selection.unit = message.unit
    drain_tasks(core, message.request_id, &selection, False)


cdef void drain_writes(Core* core, DrainWritesMessage* message) noexcept nogil:
    cdef Selection selection
    memset(&selection, 0, sizeof(Selection))
    selection.of_session = True
    selection.session_id = message.session_id
    selection.changes = True
    drain_tasks(core, message.request_id, &selection, False)


# --- holding ---

cdef bint is_still(Core* core) noexcept nogil:
    cdef Session* session = core.sessions
    cdef Task* task
    while session != NULL:
        task = session.newest
        while task != NULL:
            if task.phase == PHASE_POOL or task.phase == PHASE_CONTROL:
                return False
            task = task.older
        session = session.next
    return True


cdef void report_still(Core* core) noexcept nogil:
    cdef DoneMessage* message
    if core.hold_request == 0 or not is_still(core):
        return
    message = <DoneMessage*>make_message(MESSAGE_DONE, sizeof(DoneMessage), 0)
    if message == NULL:                     # the next message or tick tries again
        return
    message.request_id = core.hold_request
    core.hold_request = 0
    post(core.events, &message.head)


# --- jobs ---

cdef void job_over(Core* core, JobMessage* message) noexcept nogil:
    """The message lies in the job's memory, which is freed here."""
    cdef TaskJob* work = <TaskJob*>message.job
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
    cdef int kind = message.kind
    ends[0] = False
    # These three keep the message or free it themselves.
    if kind == MESSAGE_JOB:
        job_over(core, <JobMessage*>message)
        return NULL
    if kind == MESSAGE_REPLY:
        reply(core, <ReplyMessage*>message)
        return NULL
    if kind == MESSAGE_PDU:
        send_pdu(core, <PduMessage*>message)
        return NULL
    if kind == MESSAGE_ATTACH:
        c = attach(core, <AttachMessage*>message)
        if c == NULL:
            refuse(core, <AttachMessage*>message)
    elif kind == MESSAGE_PROCEED:
        proceed(core, <ProceedMessage*>message)
    elif kind == MESSAGE_CLOSE_SESSION:
        c = close_session(core, <CloseSessionMessage*>message)
        ends[0] = c != NULL
    elif kind == MESSAGE_CLOSE_CONNECTION:
        c = close_connection(core, <CloseConnectionMessage*>message)
        ends[0] = c != NULL
    elif kind == MESSAGE_EXPECT:
        expect_connection(core, <ExpectMessage*>message)
    elif kind == MESSAGE_ABORT_TASK:
        abort_one(core, <AbortTaskMessage*>message)
    elif kind == MESSAGE_ABORT_SESSION:
        abort_session(core, <AbortSessionMessage*>message)
    elif kind == MESSAGE_ABORT_UNIT:
        abort_unit(core, <AbortUnitMessage*>message)
    elif kind == MESSAGE_DRAIN_UNIT:
        drain_unit(core, <DrainUnitMessage*>message)
    elif kind == MESSAGE_DRAIN_WRITES:
        drain_writes(core, <DrainWritesMessage*>message)
    elif kind == MESSAGE_WAKE:
        retry_suspended(core)
    elif kind == MESSAGE_HOLD:
        core.held = True
        core.hold_request = (<HoldMessage*>message).request_id
    elif kind == MESSAGE_GO_ON:
        core.held = False
        core.hold_request = 0
    free(message)
    return c
