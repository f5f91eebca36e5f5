"""What a task does next: read, wait, store, wait for Data-Out, take the slow path, be aborted.

A task is in one place at a time (Phase in state.pxd): a queue, a pool, or with the control plane. While a pool works
on a task its memory stays; a task that ends meanwhile is marked, and the job's report releases it.
"""

from libc.errno cimport EAGAIN, EDQUOT, ENOMEM, ENOSPC
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from goldherd.block.image cimport IMAGE_STORE_BLOCKS, IMAGE_STORE_NOW, Image
from goldherd.block.pool cimport Job, Pool, has_writes, prepare
from goldherd.native.limits cimport (
    COLD_PLANS_MAX, EMIT_BYTES_MAX, SECTOR_BYTES, WRITE_BUFFER_BYTES_MAX, WRITE_CHUNK_BYTES_MAX, WRITE_INLINE_BYTES_MAX)
from goldherd.session.batch cimport has_room
from goldherd.session.codes cimport PURPOSE_FLUSH, PURPOSE_READ, PURPOSE_SLOW, PURPOSE_WRITE, STEP_WRITE
from goldherd.session.core cimport TaskJob, turn_to
from goldherd.session.messages cimport (
    ClosedMessage, CommandMessage, FailedMessage, MESSAGE_CLOSED, MESSAGE_COMMAND, MESSAGE_FAILED, MESSAGE_JOB, Message,
    NO_NEXUS, make_message, post)
from goldherd.session.emit cimport (
    EMIT_COLD, EMIT_DONE, EMIT_FULL, emit_pdu, emit_r2t, emit_read, emit_reply)
from goldherd.session.ordering cimport stop_stalling
from goldherd.session.connections cimport release_connection
from goldherd.session.memory cimport await_fetch, release_buffer, release_task, stop_awaiting_fetch, take_buffer
from goldherd.session.queues cimport await_space, dequeue, enqueue, stop_running, unqueue
from goldherd.scsi.fastpath.statuses cimport BUSY, TASK_SET_FULL
from goldherd.scsi.fastpath.unit cimport UnitState, full_since, is_quiesced, note_lack, note_space, watches_of
from goldherd.scsi.fastpath.watch cimport touch
from goldherd.session.phases cimport (
    PHASE_BUFFER, PHASE_CONTROL, PHASE_DATA_OUT, PHASE_PDU, PHASE_POOL, PHASE_R2T, PHASE_READ, PHASE_REPLY,
    PHASE_SUSPENDED, PHASE_WRITE)
from goldherd.session.state cimport enter


# --- the send queue ---

cdef void send_queued(Core* core, Connection* connection) noexcept nogil:
    cdef Task* task
    cdef int emitted
    cdef bint had_buffer
    while connection.send_first != NULL and not connection.closing:
        task = connection.send_first
        if task.phase == PHASE_WRITE:
            dequeue(connection)
            execute(core, task)
            continue
        if not has_room(core.batch):
            return
        if task.phase == PHASE_R2T:
            dequeue(connection)
            emit_r2t(core, connection, task)
            enter(task, PHASE_DATA_OUT)
            continue
        if task.phase == PHASE_READ:
            emitted = emit_read(core, connection, task)
        elif task.phase == PHASE_PDU:
            emitted = emit_pdu(core, connection, task)
        else:
            emitted = emit_reply(core, connection, task)
        if emitted == EMIT_FULL:
            return
        dequeue(connection)
        if emitted == EMIT_DONE:
            had_buffer = task.buffer_bytes != 0
            release_task(core, task)
            if had_buffer:
                grant_buffers(core)
        else:
            wait_for_data(core, task, emitted)


cdef void conclude(Core* core, Task* task, int status) noexcept nogil:
    """Reports a status; whatever was to be moved has been."""
    task.status = <uint8_t>status
    task.sense_bytes = 0
    task.done = task.move
    if task.purpose != PURPOSE_READ:    # until now it counted Data-Out
        task.data_sn = 0
    enqueue(core, task, PHASE_REPLY)


# --- reads ---

cdef void wait_for_data(Core* core, Task* task, int emitted) noexcept nogil:
    if emitted < 0:
        fail(core, task, -emitted)
    elif emitted != EMIT_COLD or task.cold_plans >= COLD_PLANS_MAX:
        start_job(core, task, PURPOSE_READ)
    elif not task.awaits_fetch:
        # The fetch may end between the plan and here, and would wake no listener: say that this task waits, then plan
        # once more. A fetch that ends after that second plan finds the task in the listener's count and notifies.
        await_fetch(core, task)
        enqueue(core, task, PHASE_READ)
    else:
        task.cold_plans += 1
        core.counters.cold_waits += 1
        suspend(core, task)


cdef void suspend(Core* core, Task* task) noexcept nogil:
    enter(task, PHASE_SUSPENDED)
    task.next = core.suspended
    core.suspended = task


cdef void retry_suspended(Core* core) noexcept nogil:
    cdef Task* task = core.suspended
    cdef Task* following
    core.suspended = NULL
    while task != NULL:
        following = task.next
        enqueue(core, task, PHASE_READ if task.purpose == PURPOSE_READ else PHASE_WRITE)
        task = following


# --- writes ---

cdef bint get_buffer(Core* core, Task* task, uint32_t length) noexcept nogil:
    if length == 0:
        length = 1
    task.buffer = take_buffer(core, task.connection.session, length)
    if task.buffer == NULL:
        return False
    task.buffer_bytes = length
    return True


cdef void wait_for_buffer(Core* core, Task* task) noexcept nogil:
    enter(task, PHASE_BUFFER)
    task.next = NULL
    if core.buffer_waiters_last != NULL:
        core.buffer_waiters_last.next = task
    else:
        core.buffer_waiters_first = task
    core.buffer_waiters_last = task


cdef void grant_buffers(Core* core) noexcept nogil:
    """Buffers were given back: the longest waiting writes whose session may have one get their R2T."""
    cdef Task* task = core.buffer_waiters_first
    cdef Task* following
    while task != NULL and core.buffer_bytes < WRITE_BUFFER_BYTES_MAX:
        following = task.next
        if not get_buffer(core, task, task.chunk):
            task = following
            continue
        unqueue(core, task)
        ask_for_data(core, task)
        task = following


cdef void ask_for_data(Core* core, Task* task) noexcept nogil:
    """An R2T for what the chunk still lacks."""
    if task.buffer == NULL and not get_buffer(core, task, task.chunk):
        wait_for_buffer(core, task)
        return
    task.allowed = task.chunk - task.received
    if task.allowed > task.connection.max_burst:    # parameter data is collected over several R2Ts
        task.allowed = task.connection.max_burst
    task.data_sn = 0
    task.unsolicited = False
    enqueue(core, task, PHASE_R2T)


cdef void data_arrived(Core* core, Task* task, uint32_t length, bint final) noexcept nogil:
    if task.reminds:
        wait_for_space(core, task)
        return
    task.received += length
    task.allowed -= length if length <= task.allowed else task.allowed
    if not final and task.allowed:
        return                              # more of this burst will come
    if task.received < task.chunk:
        ask_for_data(core, task)
    elif task.purpose == PURPOSE_SLOW:
        send_to_control(core, task)
    else:
        execute(core, task)


cdef void execute(Core* core, Task* task) noexcept nogil:
    cdef int result
    if is_quiesced(task.nexus.unit):        # an exclusive command runs: wait for its end
        suspend(core, task)
        return
    if task.chunk == 0:
        stored(core, task)
        return
    # Here, not in the pool: the list of watches is good for this step only.
    touch(watches_of(task.nexus.unit), task.offset + task.done, task.chunk)
    result = store_now(core, task.nexus.unit, task.offset + task.done, task.chunk, task.buffer)
    if result == -EAGAIN:
        start_job(core, task, PURPOSE_WRITE)
    else:
        job_done(core, task, PURPOSE_WRITE, result)


cdef int store_now(Core* core, UnitState* unit, uint64_t offset, uint64_t length, const char* data) noexcept nogil:
    """Stores data on the reactor; -EAGAIN when that could take long, for the disk's sake or for its length."""
    cdef int before
    cdef int result = -EAGAIN
    if length > WRITE_INLINE_BYTES_MAX or has_writes(unit.lane):     # an earlier one of the same bytes may be there
        return -EAGAIN
    before = turn_to(core, STEP_WRITE)
    if not unit.image_flags & IMAGE_STORE_BLOCKS:
        result = (<Image>unit.image).store(offset, length, data)
    elif unit.image_flags & IMAGE_STORE_NOW:
        result = (<Image>unit.image).store_now(offset, length, data)
    turn_to(core, before)
    return result


cdef void stored(Core* core, Task* task) noexcept nogil:
    """A chunk is written: the next one, or the end."""
    cdef uint64_t rest
    if task.waited:
        task.waited = False
        note_space(task.nexus.unit)
    task.done += task.chunk
    core.counters.write_bytes += task.chunk
    task.connection.write_bytes += task.chunk
    rest = task.move - task.done
    if rest:
        task.received = 0
        if rest < task.chunk:
            task.chunk = <uint32_t>rest
        ask_for_data(core, task)
        return
    give_back(core, task)
    if task.fua:
        start_job(core, task, PURPOSE_FLUSH)
    else:
        conclude(core, task, 0)
    grant_buffers(core)


cdef void give_back(Core* core, Task* task) noexcept nogil:
    """The write buffer is free again; the rest of a PDU that was going into it goes nowhere."""
    if task.connection.sink_task == task:
        task.connection.sink_task = NULL
        task.connection.sink = NULL
    if task.buffer_bytes:
        release_buffer(core, task.connection.session, task.buffer, task.buffer_bytes)
    task.buffer = NULL
    task.buffer_bytes = 0


# --- writes that wait for space ---

cdef void store_failed(Core* core, Task* task, int error) noexcept nogil:
    """A chunk could not be stored. For want of space that is no error yet, for as long as the disk's writes are held."""
    cdef UnitState* unit = task.nexus.unit
    if error != ENOSPC and error != EDQUOT:
        fail(core, task, error)
        return
    note_lack(unit, core.now_ms)
    if hold_is_over(core, unit):
        fail(core, task, error)
        return
    if not task.waited:
        core.counters.space_waits += 1
        task.reminded_ms = core.now_ms
    task.waited = True
    task.error = error
    wait_for_space(core, task)


cdef bint hold_is_over(Core* core, UnitState* unit) noexcept nogil:
    return core.now_ms >= full_since(unit) + core.full_hold_ms


cdef void wait_for_space(Core* core, Task* task) noexcept nogil:
    """The task waits without its data, which it will ask for again: a full disk takes no buffers from the others."""
    give_back(core, task)
    task.received = 0
    task.reminds = False
    await_space(core, task)
    grant_buffers(core)


cdef void remind(Core* core, Task* task) noexcept nogil:
    """A held task sends an R2T for a sector that is dropped; without a buffer for it, the task stays held.

    Linux gives a command more time as long as it has seen a PDU of it since it last looked (docs/full-disks.md).
    """
    cdef uint32_t length = task.chunk if task.chunk < <uint32_t>SECTOR_BYTES else SECTOR_BYTES
    if not get_buffer(core, task, length):
        return
    unqueue(core, task)
    task.reminds = True
    task.reminded_ms = core.now_ms
    task.allowed = length
    task.data_sn = 0
    task.unsolicited = False
    enqueue(core, task, PHASE_R2T)


# --- other threads ---

cdef void run_job(Job* job) noexcept nogil:
    cdef TaskJob* work = <TaskJob*>job
    cdef Core* core = work.core
    if work.operation == PURPOSE_READ:
        work.result = (<Image>work.image).load(work.offset, work.length, work.buffer)
    elif work.operation == PURPOSE_WRITE:
        work.result = (<Image>work.image).store(work.offset, work.length, work.buffer)
    else:
        work.result = (<Image>work.image).persist()
    post(&core.messages, &work.report.head)


cdef void start_job(Core* core, Task* task, int operation) noexcept nogil:
    cdef TaskJob* work
    cdef uint64_t length
    cdef UnitState* unit = task.nexus.unit
    # A driver that does without threads has a pool of its own.
    cdef void* pool = core.pool if core.pool != NULL else unit.pool
    stop_awaiting_fetch(core, task)
    if operation == PURPOSE_READ:
        length = task.move - task.done
        length = (length + 511) & ~<uint64_t>511
        if length > EMIT_BYTES_MAX:
            length = EMIT_BYTES_MAX
        if task.owned == NULL:
            task.owned = malloc(EMIT_BYTES_MAX if task.move - task.done > length else length)
            if task.owned == NULL:
                fail(core, task, ENOMEM)
                return
        task.buffer = <char*>task.owned
        task.chunk = <uint32_t>length
        task.received = 0
    work = <TaskJob*>malloc(sizeof(TaskJob))
    if work == NULL:
        fail(core, task, ENOMEM)
        return
    work.report.head.kind = MESSAGE_JOB
    work.report.job = &work.job
    work.core = core
    work.task = task
    work.image = task.nexus.unit.image
    work.operation = operation
    work.offset = task.offset + task.done
    work.length = task.chunk
    work.buffer = task.buffer
    if operation == PURPOSE_WRITE:
        prepare(&work.job, run_job, work.offset, work.offset + work.length)
    else:
        prepare(&work.job, run_job, 0, 0)
    enter(task, PHASE_POOL)
    task.connection.jobs += 1
    core.counters.jobs += 1
    (<Pool>pool).submit(unit.lane, &work.job)


cdef void job_done(Core* core, Task* task, int operation, int result) noexcept nogil:
    if result < 0 and operation == PURPOSE_WRITE:
        store_failed(core, task, -result)
    elif result < 0:
        fail(core, task, -result)
    elif operation == PURPOSE_READ:
        task.loaded = True
        task.cold_plans = 0
        enqueue(core, task, PHASE_READ)
    elif operation == PURPOSE_WRITE:
        stored(core, task)
    else:
        conclude(core, task, 0)


cdef void send_to_control(Core* core, Task* task) noexcept nogil:
    cdef uint32_t length = task.received
    cdef bint taken = task.buffer_bytes > <uint32_t>WRITE_CHUNK_BYTES_MAX   # such a buffer is never kept for others
    cdef CommandMessage* message = <CommandMessage*>make_message(
        MESSAGE_COMMAND, sizeof(CommandMessage), 0 if taken else length)
    core.counters.slow_commands += 1
    if message == NULL:
        conclude(core, task, TASK_SET_FULL)      # try again later
        return
    message.session_id = task.connection.session.id
    message.connection = task.connection.number
    message.tag = task.tag
    message.itt = task.itt
    message.serial = task.serial
    message.nexus = nexus_number(task)
    message.expected = task.expected
    memcpy(message.lun, task.lun, 8)
    memcpy(message.cdb, task.cdb, 16)
    message.data_bytes = length
    if taken:
        message.taken = task.buffer
        task.buffer = NULL
    elif length:
        memcpy(message.data, task.buffer, length)
    hand_over(core, task, &message.head)    # the buffer stays counted: it stands for the copy that Python has


cdef void fail(Core* core, Task* task, int error) noexcept nogil:
    """I/O of a task failed, or its Data-Out is not what was asked for: the control plane makes the sense data.

    A task of a LUN that isn't there has no unit that could; the control plane executes it as it is and says so.
    """
    cdef FailedMessage* message = <FailedMessage*>make_message(MESSAGE_FAILED, sizeof(FailedMessage), 0)
    if message == NULL:
        conclude(core, task, BUSY)
        return
    message.session_id = task.connection.session.id
    message.tag = task.tag
    message.nexus = nexus_number(task)
    message.error = error
    message.purpose = task.purpose
    memcpy(message.cdb, task.cdb, 16)
    give_back(core, task)
    grant_buffers(core)
    hand_over(core, task, &message.head)


cdef inline uint32_t nexus_number(Task* task) noexcept nogil:
    return task.nexus.number if task.nexus != NULL else <uint32_t>NO_NEXUS


cdef void hand_over(Core* core, Task* task, Message* message) noexcept nogil:
    """To the control plane; the task waits there until a reply comes, which must always come."""
    stop_awaiting_fetch(core, task)
    enter(task, PHASE_CONTROL)
    post(core.events, message)


# --- the end of tasks and connections ---

cdef void abort_task(Core* core, Task* task) noexcept nogil:
    """Ends a task without a response; one that another thread works on is only marked."""
    if task.phase == PHASE_POOL or task.phase == PHASE_CONTROL:
        task.aborted = True
        return
    unqueue(core, task)
    release_task(core, task)
    grant_buffers(core)


cdef void end_connection(Core* core, Connection* connection, int reason) noexcept nogil:
    cdef Task* task = connection.session.newest
    cdef Task* older
    connection.closed = True
    connection.reason = reason
    stop_running(core, connection)
    stop_stalling(connection)
    while task != NULL:
        older = task.older
        if task.connection == connection:
            if task.phase == PHASE_POOL:
                task.aborted = True         # its job reports to job_over, which releases it
            else:
                unqueue(core, task)
                release_task(core, task)
        task = older
    connection.send_first = connection.send_last = NULL
    grant_buffers(core)
    if connection.jobs == 0:
        report_closed(core, connection)


cdef void report_closed(Core* core, Connection* connection) noexcept nogil:
    """Nothing of the connection is in use any more: Python may release units and images."""
    post_closed(core, connection.session.id, connection.number, connection.reason, connection.session.connections == 1)
    release_connection(core, connection)


cdef void post_closed(Core* core, uint64_t session_id, uint32_t number, int reason, bint last) noexcept nogil:
    cdef ClosedMessage* message = <ClosedMessage*>make_message(MESSAGE_CLOSED, sizeof(ClosedMessage), 0)
    if message == NULL:                     # the session stays known, which is harmless
        return
    message.session_id = session_id
    message.connection = number
    message.reason = reason
    message.last = last
    post(core.events, &message.head)
