"""Sessions of a reactor as values, and values as sessions of a reactor: the data plane's part of a hand-over.

Theory of operation. A reactor that is held (control.pyx: hold) serves no connection, and when it has reported that it
is still, every task of it stands in a place that is memory only: it waits for Data-Out of the initiator or for a write
buffer, or stands in a send queue. Then its thread is stopped, and everything that its structs say can be written down:
export_sessions(). The reactor of another process makes the same structs of it before its own thread starts:
adopt_session(). Neither sends or receives a byte, so the initiator can't tell one process from the other.

A task gets a new tag in the new process. Data that was asked for under the old one is recognised by `Task.ttt`.
Data that a pool had read for a task is not taken along: it is read again.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.uio cimport iovec

from cpython.bytes cimport PyBytes_FromStringAndSize

from goldherd.model.handover import MovedConnection, MovedNumbers, MovedSink, MovedTask
from goldherd.native.limits cimport COMMAND_WINDOW, LUNS_MAX
from goldherd.reactor.commands_in cimport is_still
from goldherd.reactor.loop cimport Loop
from goldherd.scsi.fastpath.unit cimport HotNexus, NexusState
from goldherd.session.codes cimport PURPOSE_PDU, PURPOSE_READ
from goldherd.session.codes import Purpose
from goldherd.session.connections cimport join_session, take_connection, take_session
from goldherd.session.core cimport Core, INPUT_BYTES
from goldherd.session.memory cimport take_task
from goldherd.session.phases cimport (
    PHASE_BUFFER, PHASE_CONTROL, PHASE_DATA_OUT, PHASE_PDU, PHASE_POOL, PHASE_R2T, PHASE_READ, PHASE_REPLY,
    PHASE_SPACE, PHASE_SUSPENDED, PHASE_WRITE)
from goldherd.session.queues cimport enqueue
from goldherd.session.state cimport Connection, Pending, Session, Task, enter
from goldherd.session.tasks cimport ask_for_data, get_buffer
from goldherd.wire.opcodes cimport BHS_BYTES
from goldherd.wire.pdu cimport before, data_length

cdef object QUEUED = {PHASE_READ, PHASE_REPLY, PHASE_R2T, PHASE_WRITE, PHASE_PDU}
cdef object FILLED = {PHASE_DATA_OUT, PHASE_R2T, PHASE_WRITE}     # those with a write buffer


# --- from a reactor ---

def busy_sessions(Loop reactor not None) -> dict:
    """Session id -> the LUNs of its tasks that work on another thread or in the control plane (-1: of no LUN); the reactor
    must be run by no thread."""
    cdef Session* session = reactor.core.sessions
    cdef Task* task
    found = {}
    while session != NULL:
        task = session.newest
        luns = set()
        while task != NULL:
            if task.phase == PHASE_POOL or task.phase == PHASE_CONTROL:
                luns.add(task.nexus.number if task.nexus != NULL else -1)
            task = task.older
        if luns:
            found[session.id] = frozenset(luns)
        session = session.next
    return found


def export_sessions(Loop reactor not None) -> dict:
    """Session id -> its record and the descriptors of its connections by number, which stay the reactor's.

    The reactor must be held and still, and run by no thread. Raises RuntimeError when it is not still.
    """
    cdef Session* session
    with nogil:
        reactor.read_messages()         # the last ones, that its thread has not seen
    if not reactor.core.held or not is_still(&reactor.core):
        raise RuntimeError("the reactor is not still")
    found = {}
    session = reactor.core.sessions
    while session != NULL:
        connections = open_connections(session)
        if connections:
            found[session.id] = export_session(session, connections)
        session = session.next
    return found


cdef dict open_connections(Session* session):
    """Number -> index of the connections that are open."""
    cdef Connection* c = session.first
    found = {}
    while c != NULL:
        if not c.closed and c.fd >= 0:
            found[c.number] = c.index
        c = c.sibling
    return found


cdef object export_session(Session* session, dict numbers):
    cdef Task* task = session.newest
    cdef Connection* c
    cdef list tasks = []
    cdef dict places = {}
    cdef list records = []
    cdef uint32_t number
    cdef uint32_t i
    while task != NULL:                 # the newest comes first
        if not task.queued and task.connection.number in numbers and not task.aborted:
            tasks.insert(0, <size_t>task)
        task = task.older
    c = session.first
    while c != NULL:
        task = c.send_first if c.number in numbers else NULL
        while task != NULL:
            tasks.append(<size_t>task)
            task = task.next
        c = c.sibling
    for i, address in enumerate(tasks):
        places[address] = i
    c = session.first
    while c != NULL:
        if c.number in numbers:
            records.append(export_connection(c, places))
            numbers[c.number] = c.fd
        c = c.sibling
    skipped = []
    for i in range(<uint32_t>COMMAND_WINDOW):
        number = session.exp_cmd_sn + i
        if session.skipped[(number % <uint32_t>COMMAND_WINDOW) >> 6] >> (number & 63) & 1:
            skipped.append(number)
    return MovedNumbers(
        exp_cmd_sn=session.exp_cmd_sn, max_cmd_sn=session.max_cmd_sn, window=session.window,
        multiple=bool(session.multiple), skipped=tuple(skipped), connections=tuple(records),
        tasks=tuple([export_task(<Task*><size_t>address) for address in tasks])), numbers


cdef object export_task(Task* task):
    cdef int phase = task.phase
    cdef bint filled
    if phase == PHASE_SPACE:            # it asks for its data, and is tried anew
        phase = PHASE_BUFFER
    if phase == PHASE_SUSPENDED:        # what it waits for may be there when it is tried again
        phase = PHASE_READ if task.purpose == PURPOSE_READ else PHASE_WRITE
    filled = phase in FILLED and task.buffer_bytes != 0
    return MovedTask(
        connection=task.connection.number, phase=phase, purpose=task.purpose, queued=bool(task.queued),
        nexus=task.nexus.number if task.nexus != NULL else None, itt=(<char*>&task.itt)[:4], ttt=task.ttt,
        cmd_sn=task.cmd_sn, lun=(<char*>task.lun)[:8], cdb=(<char*>task.cdb)[:16], offset=task.offset, move=task.move,
        done=task.done, cdb_bytes=task.cdb_bytes, expected=task.expected, data_sn=task.data_sn, r2t_sn=task.r2t_sn,
        burst_left=task.burst_left, chunk=task.chunk if phase != PHASE_READ else 0,
        received=task.received if phase != PHASE_READ else 0, allowed=task.allowed,
        room=task.buffer_bytes if filled else 0, content=content_of(task, phase, filled), status=task.status,
        sense_bytes=task.sense_bytes, flags=task.flags, directions=task.directions, immediate=bool(task.immediate),
        fua=bool(task.fua), unsolicited=bool(task.unsolicited), reminds=bool(task.reminds))


cdef bytes content_of(Task* task, int phase, bint filled):
    cdef uint64_t length = 0
    if filled:
        length = task.received
        if task.connection.sink_task == task:       # of the PDU that is not whole yet
            length = task.connection.sink - task.buffer
    elif phase == PHASE_PDU:
        length = BHS_BYTES + data_length(<const uint8_t*>task.buffer)
    elif phase == PHASE_REPLY:
        length = task.sense_bytes + (task.move if task.done < task.move else 0)
    return PyBytes_FromStringAndSize(task.buffer, length) if length else b""


cdef object export_connection(Connection* c, dict places):
    sink = None
    if c.sink_length:
        sink = MovedSink(
            header=(<char*>c.sink_header)[:48], length=c.sink_length, left=c.sink_left, tail=c.sink_tail,
            crc=c.sink_crc, task=places[<size_t>c.sink_task] if c.sink_task != NULL else None)
    return MovedConnection(
        number=c.number, stat_sn=c.stat_sn, max_send_segment=c.max_send_segment,
        max_receive_segment=c.max_receive_segment, max_burst=c.max_burst, first_burst=c.first_burst,
        initial_r2t=bool(c.initial_r2t), immediate_data=bool(c.immediate_data), header_digest=bool(c.header_digest),
        data_digest=bool(c.data_digest), closing=bool(c.closing), reason=c.reason, answers_pings=bool(c.answers_pings),
        ping_tag=c.ping_tag, received=c.residue[:c.residue_bytes] if c.residue_bytes else b"", unsent=unsent_bytes(c),
        sink=sink, commands=c.commands, read_bytes=c.read_bytes, write_bytes=c.write_bytes)


cdef bytes unsent_bytes(Connection* c):
    cdef int i
    if c.pending == NULL:
        return b""
    return b"".join([(<char*>c.pending.iov[i].iov_base)[:c.pending.iov[i].iov_len]
                     for i in range(c.pending.first, c.pending.count)])


# --- to a reactor ---

def adopt_session(Loop reactor not None, session_id: int, numbers: object, luns: dict, descriptors: dict) -> None:
    """Makes a session of a record.

    Args:
        reactor: no thread may run it yet; it serves the session with its first step.
        session_id: the session's id in the control plane; never reused.
        numbers: MovedNumbers.
        luns: LUN -> HotNexus.
        descriptors: the sockets, non-blocking, by number of the connection; the reactor's when this returns.

    Raises: ValueError for a record that can't be a session's, MemoryError; the descriptors are still the caller's then, and
    the reactor can't be used any more.
    """
    cdef Session* session
    cdef uint32_t number
    cdef HotNexus nexus
    cdef list tasks = []
    cdef dict connections = {}
    cdef uint32_t count = max(luns) + 1 if luns else 0
    if count > LUNS_MAX:
        raise ValueError(f"LUN {count - 1} is above the limit of {LUNS_MAX - 1}")
    if numbers.window != COMMAND_WINDOW:
        raise ValueError(f"a window of {numbers.window} commands; this version has {COMMAND_WINDOW}")
    session = take_session(&reactor.core, session_id, count)
    if session == NULL:
        raise MemoryError
    for lun, nexus in luns.items():
        session.luns[<uint32_t>lun] = &nexus.state
    reactor.units[session_id] = tuple(luns.values())
    session.exp_cmd_sn = numbers.exp_cmd_sn
    session.max_cmd_sn = numbers.max_cmd_sn
    session.window = numbers.window
    for number in numbers.skipped:
        if before(number, session.exp_cmd_sn) or before(session.max_cmd_sn, number):
            raise ValueError("a number that counts as received is not in the window")
        session.skipped[(number % <uint32_t>COMMAND_WINDOW) >> 6] |= <uint64_t>1 << (number & 63)
        session.waiting += 1
    for record in reversed(numbers.connections):        # the newest comes first
        connections[record.number] = <size_t>adopt_connection(reactor, session, record, descriptors[record.number])
    session.multiple = numbers.multiple
    for record in numbers.tasks:
        tasks.append(<size_t>adopt_task(
            &reactor.core, session, <Connection*><size_t>connections[record.connection], record))
    for record in numbers.connections:
        if record.sink is not None:
            adopt_sink(<Connection*><size_t>connections[record.number], record.sink, tasks)
    for address in connections.values():
        reactor.watch(<Connection*><size_t>address)


cdef Connection* adopt_connection(Loop reactor, Session* session, object record, int fd) except NULL:
    cdef Core* core = &reactor.core
    cdef Connection* c
    cdef bytes received = record.received
    if len(received) > INPUT_BYTES:
        raise ValueError(f"{len(received)} received bytes are more than are ever kept")
    c = take_connection(core)
    if c == NULL:
        raise MemoryError
    join_session(session, c)
    c.fd = fd
    c.number = record.number
    c.stat_sn = record.stat_sn
    c.max_send_segment = <uint32_t>record.max_send_segment & ~<uint32_t>511
    c.max_burst = <uint32_t>record.max_burst & ~<uint32_t>511
    c.max_receive_segment = record.max_receive_segment
    c.first_burst = record.first_burst
    c.initial_r2t = record.initial_r2t
    c.immediate_data = record.immediate_data
    c.header_digest = record.header_digest
    c.data_digest = record.data_digest
    c.closing = record.closing
    c.reason = record.reason
    c.answers_pings = record.answers_pings
    c.ping_tag = record.ping_tag
    c.commands, c.read_bytes, c.write_bytes = record.commands, record.read_bytes, record.write_bytes
    if received:
        c.residue = <char*>malloc(len(received))
        if c.residue == NULL:
            raise MemoryError
        memcpy(c.residue, <char*>received, len(received))
        c.residue_room = c.residue_bytes = len(received)
        c.residue_whole = True
    if record.unsent:
        adopt_unsent(c, record.unsent)
        c.blocked = True
        c.stuck_ms = core.now_ms
    return c


cdef int adopt_unsent(Connection* c, bytes unsent) except -1:
    cdef Pending* pending = <Pending*>calloc(1, sizeof(Pending))
    if pending == NULL:
        raise MemoryError
    pending.iov = <iovec*>malloc(sizeof(iovec))
    pending.pins = <uint32_t**>calloc(1, sizeof(uint32_t*))
    pending.copy = <char*>malloc(len(unsent))
    if pending.iov == NULL or pending.pins == NULL or pending.copy == NULL:
        free(pending.iov)
        free(pending.pins)
        free(pending.copy)
        free(pending)
        raise MemoryError
    memcpy(pending.copy, <char*>unsent, len(unsent))
    pending.iov[0].iov_base = pending.copy
    pending.iov[0].iov_len = len(unsent)
    pending.count = 1
    c.pending = pending
    return 0


cdef Task* adopt_task(Core* core, Session* session, Connection* c, object record) except NULL:
    cdef Task* task
    cdef NexusState* nexus = NULL
    cdef bytes content = record.content
    cdef bytes word
    cdef int phase = record.phase
    if phase not in QUEUED and phase not in (PHASE_DATA_OUT, PHASE_BUFFER):
        raise ValueError(f"a task in the phase {phase} does not move")
    if record.purpose not in Purpose.__members__.values() or (phase == PHASE_PDU) != (record.purpose == PURPOSE_PDU):
        raise ValueError(f"a task of the purpose {record.purpose} in the phase {phase}")
    if record.nexus is not None:
        nexus = session.luns[<uint32_t>record.nexus]
        if record.offset + record.move > nexus.unit.block_count << nexus.unit.block_shift and phase != PHASE_REPLY:
            raise ValueError(f"a transfer of {record.move} bytes at {record.offset} is not on the disk")
    elif phase != PHASE_PDU and phase != PHASE_REPLY:
        raise ValueError("a transfer without a disk")
    if phase in FILLED and record.room == 0 and record.chunk:
        raise ValueError("Data-Out without a buffer")
    if phase == PHASE_REPLY and len(content) < record.sense_bytes + (record.move if record.done < record.move else 0):
        raise ValueError(f"{len(content)} bytes of a reply of {record.move}")
    if phase == PHASE_PDU and (len(content) < BHS_BYTES
                               or len(content) < BHS_BYTES + data_length(<const uint8_t*><char*>content)):
        raise ValueError(f"a PDU of {len(content)} bytes")
    task = take_task(core, c)
    if task == NULL:
        raise MemoryError
    word = record.itt
    memcpy(&task.itt, <char*>word, 4)
    word = record.lun
    memcpy(task.lun, <char*>word, 8)
    word = record.cdb
    memcpy(task.cdb, <char*>word, 16)
    task.nexus = nexus
    task.purpose, task.ttt, task.cmd_sn = record.purpose, record.ttt, record.cmd_sn
    task.offset, task.move, task.done, task.cdb_bytes = record.offset, record.move, record.done, record.cdb_bytes
    task.expected, task.data_sn, task.r2t_sn = record.expected, record.data_sn, record.r2t_sn
    task.burst_left, task.chunk, task.received = record.burst_left, record.chunk, record.received
    task.allowed, task.status, task.sense_bytes = record.allowed, record.status, record.sense_bytes
    task.flags, task.directions, task.immediate = record.flags, record.directions, record.immediate
    task.fua, task.unsolicited, task.reminds = record.fua, record.unsolicited, record.reminds
    if phase in FILLED and record.room:
        if not get_buffer(core, task, record.room):
            raise MemoryError("the write buffers of a reactor do not hold what several had")
        memcpy(task.buffer, <char*>content, len(content))
    elif content:
        task.owned = malloc(len(content))
        if task.owned == NULL:
            raise MemoryError
        memcpy(task.owned, <char*>content, len(content))
        task.buffer = <char*>task.owned
    place(core, task, phase)
    return task


cdef void place(Core* core, Task* task, int phase) noexcept nogil:
    """Where the task stood in the other process."""
    if phase == PHASE_DATA_OUT:
        enter(task, PHASE_DATA_OUT)
    elif phase == PHASE_BUFFER:
        ask_for_data(core, task)
    elif phase == PHASE_READ:
        enqueue(core, task, PHASE_READ)
    elif phase == PHASE_REPLY:
        enqueue(core, task, PHASE_REPLY)
    elif phase == PHASE_R2T:
        enqueue(core, task, PHASE_R2T)
    elif phase == PHASE_WRITE:
        enqueue(core, task, PHASE_WRITE)
    else:
        enqueue(core, task, PHASE_PDU)


cdef int adopt_sink(Connection* c, object record, list tasks) except -1:
    cdef bytes header = record.header
    cdef uint32_t come = record.length - record.left
    cdef Task* task
    memcpy(c.sink_header, <char*>header, 48)
    c.sink_length, c.sink_left, c.sink_tail, c.sink_crc = record.length, record.left, record.tail, record.crc
    if record.task is not None:
        task = <Task*><size_t>tasks[record.task]
        if task.buffer_bytes == 0 or <uint64_t>task.received + c.sink_length > task.buffer_bytes:
            raise ValueError("the data of a PDU finds no room in its task")
        c.sink_task = task
        c.sink = task.buffer + task.received + come
    return 0
