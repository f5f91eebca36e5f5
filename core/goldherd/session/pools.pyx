"""Memory of a reactor that is used again and again: tasks in slabs, write buffers by size, connections by index.

A tag is slot number (20 bits) and generation (12 bits) of a task: Data-Out for a task that is gone is recognised,
and the look-up is one step.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

from goldherd.native.limits cimport EMIT_BYTES_MAX, RECEIVE_BYTES, TASKS_MAX, WRITE_BUFFER_BYTES_MAX
from goldherd.native.sanitizer cimport poison, unpoison
from goldherd.session.batch cimport free_batch, make_batch
from goldherd.session.core cimport INPUT_BYTES, NOBODY
from goldherd.session.messages cimport close_box, open_box
from goldherd.scsi.unit cimport NexusState
from goldherd.session.state cimport FenceLink, PHASE_FREE, PHASE_PARKED, PHASE_ROOM, PURPOSE_PDU

cdef extern from * nogil:
    int add_int "__atomic_add_fetch"(int*, int, int)
    int __ATOMIC_SEQ_CST

cdef enum:
    SLAB_BITS = 8
    SLAB_TASKS = 256            # 1 << SLAB_BITS
    INDEX_BITS = 20
    INDEX_MASK = 0xFFFFF
    GENERATION_MAX = 0xFFE      # with 0xFFF a tag could be the reserved one
    BUFFER_BITS_MIN = 12
    BUFFER_BITS_MAX = 20
    FREE_BUFFER_BYTES_MAX = 16777216


cdef int open_core(Core* core) except -1:
    memset(core, 0, sizeof(Core))
    core.inbox.eventfd = -1
    core.batch = make_batch()
    core.receive = <uint8_t*>malloc(INPUT_BYTES)
    core.scratch = <uint8_t*>malloc(RECEIVE_BYTES)
    core.zeros = <const char*>calloc(1, EMIT_BYTES_MAX)
    core.slabs = <Task**>calloc(TASKS_MAX / SLAB_TASKS, sizeof(Task*))
    core.free_buffers = <void**>calloc(BUFFER_BITS_MAX + 1, sizeof(void*))
    if not (core.receive and core.scratch and core.zeros and core.slabs and core.free_buffers):
        close_core(core)
        raise MemoryError
    open_box(&core.inbox)
    core.listener.eventfd = core.inbox.eventfd
    return 0


cdef void close_core(Core* core) noexcept nogil:
    cdef uint32_t i
    close_box(&core.inbox)
    free_batch(core.batch)
    free(core.receive)
    free(core.scratch)
    free(<void*>core.zeros)
    if core.slabs != NULL:
        for i in range(core.slab_count):
            free(core.slabs[i])
    free(core.slabs)
    if core.free_buffers != NULL:
        for i in range(<uint32_t>BUFFER_BITS_MAX + 1):
            while core.free_buffers[i] != NULL:
                free(take_free_buffer(core, <int>i))
    free(core.free_buffers)
    for i in range(core.connection_room):
        if core.connections[i] != NULL:
            free(core.connections[i])
    free(core.connections)
    memset(core, 0, sizeof(Core))
    core.inbox.eventfd = -1


# --- tasks ---

cdef inline void close_task(Task* task) noexcept nogil:
    """Of a free task only `next`, `tag` and `phase` may be looked at."""
    poison(&task.newer, <char*>&task.tag - <char*>&task.newer)


cdef bint add_slab(Core* core) noexcept nogil:
    cdef Task* slab
    cdef uint32_t i
    if core.slab_count == TASKS_MAX / SLAB_TASKS:
        return False
    slab = <Task*>calloc(SLAB_TASKS, sizeof(Task))
    if slab == NULL:
        return False
    core.slabs[core.slab_count] = slab
    for i in range(SLAB_TASKS):
        slab[i].tag = (core.slab_count << SLAB_BITS) | i
        slab[i].next = core.free_tasks
        core.free_tasks = &slab[i]
        close_task(&slab[i])
    core.slab_count += 1
    return True


cdef Task* take_task(Core* core, Connection* connection) noexcept nogil:
    cdef Task* task
    cdef uint32_t tag
    cdef Session* session = connection.session
    if core.free_tasks == NULL and not add_slab(core):
        return NULL
    task = core.free_tasks
    core.free_tasks = task.next
    tag = task.tag
    unpoison(task, sizeof(Task))
    memset(task, 0, sizeof(Task))
    if (tag >> INDEX_BITS) >= <uint32_t>GENERATION_MAX:
        tag &= INDEX_MASK
    task.tag = tag + (<uint32_t>1 << INDEX_BITS)
    task.connection = connection
    core.serial += 1
    task.serial = core.serial
    task.older = session.newest
    if session.newest != NULL:
        session.newest.newer = task
    session.newest = task
    session.live += 1
    return task


cdef void release_task(Core* core, Task* task) noexcept nogil:
    cdef Session* session = task.connection.session
    cdef FenceLink* link
    if task.newer != NULL:
        task.newer.older = task.older
    else:
        session.newest = task.older
    if task.older != NULL:
        task.older.newer = task.newer
    session.live -= 1
    if task.connection.sink_task == task:       # the rest of its Data-Out goes nowhere
        task.connection.sink_task = NULL
        task.connection.sink = NULL
    stop_watching(core, task)
    if task.buffer_bytes:
        release_buffer(core, session, task.buffer, task.buffer_bytes)
    free(task.owned)
    while task.fences != NULL:
        link = task.fences
        task.fences = link.next
        free(link)
    task.phase = PHASE_FREE
    task.connection = NULL
    task.next = core.free_tasks
    core.free_tasks = task
    close_task(task)


cdef void watch(Core* core, Task* task) noexcept nogil:
    if not task.watching:
        task.watching = True
        add_int(&core.listener.waiting, 1, __ATOMIC_SEQ_CST)


cdef void stop_watching(Core* core, Task* task) noexcept nogil:
    if task.watching:
        task.watching = False
        add_int(&core.listener.waiting, -1, __ATOMIC_SEQ_CST)


cdef Task* task_of(Core* core, uint32_t tag) noexcept nogil:
    cdef uint32_t index = tag & <uint32_t>INDEX_MASK
    cdef Task* task
    if (index >> SLAB_BITS) >= core.slab_count:
        return NULL
    task = &core.slabs[index >> SLAB_BITS][index & (SLAB_TASKS - 1)]
    return task if task.tag == tag and task.phase != PHASE_FREE else NULL


cdef Task* known_task(Session* session, uint32_t itt) noexcept nogil:
    cdef Task* task = session.newest
    while task != NULL:
        if task.itt == itt and task.purpose != PURPOSE_PDU and not task.aborted:
            return task
        task = task.older
    return NULL


# --- write buffers ---

cdef inline int size_bits(uint32_t length) noexcept nogil:
    cdef int bits = BUFFER_BITS_MIN
    while (<uint32_t>1 << bits) < length:
        bits += 1
    return bits


cdef inline void* take_free_buffer(Core* core, int bits) noexcept nogil:
    cdef void* buffer = core.free_buffers[bits]
    unpoison(buffer, <size_t>1 << bits)
    core.free_buffers[bits] = (<void**>buffer)[0]
    return buffer


cdef char* take_buffer(Core* core, Session* session, uint32_t length) noexcept nogil:
    """A session gets no more than it leaves to others: however many hoard, there is room for one that comes later."""
    cdef int bits = size_bits(length)
    cdef uint64_t size = <uint64_t>1 << bits
    cdef void* buffer
    if session.buffer_bytes + size + core.buffer_bytes > WRITE_BUFFER_BYTES_MAX:
        return NULL
    if bits <= BUFFER_BITS_MAX and core.free_buffers[bits] != NULL:
        buffer = take_free_buffer(core, bits)
        core.free_buffer_bytes -= size
    else:
        buffer = malloc(size)
        if buffer == NULL:
            return NULL
    poison(<char*>buffer + length, size - length)
    core.buffer_bytes += size
    session.buffer_bytes += size
    return <char*>buffer


cdef void release_buffer(Core* core, Session* session, char* buffer, uint32_t length) noexcept nogil:
    cdef int bits = size_bits(length)
    cdef uint64_t size = <uint64_t>1 << bits
    core.buffer_bytes -= size
    session.buffer_bytes -= size
    if bits <= BUFFER_BITS_MAX and core.free_buffer_bytes + size <= FREE_BUFFER_BYTES_MAX:
        unpoison(buffer, sizeof(void*))
        (<void**>buffer)[0] = core.free_buffers[bits]
        core.free_buffers[bits] = buffer
        poison(buffer, size)
        core.free_buffer_bytes += size
    else:
        free(buffer)


# --- connections ---

cdef Connection* take_connection(Core* core) noexcept nogil:
    cdef uint32_t index = 0
    cdef uint32_t room
    cdef Connection** more
    cdef Connection* connection
    while index < core.connection_room and core.connections[index] != NULL:
        index += 1
    if index == core.connection_room:
        room = core.connection_room * 2 if core.connection_room else 64
        more = <Connection**>realloc(core.connections, room * sizeof(Connection*))
        if more == NULL:
            return NULL
        core.connections = more
        memset(core.connections + core.connection_room, 0, (room - core.connection_room) * sizeof(Connection*))
        core.connection_room = room
    connection = <Connection*>calloc(1, sizeof(Connection))
    if connection == NULL:
        return NULL
    connection.index = index
    connection.fd = -1
    core.connections[index] = connection
    core.connection_count += 1
    return connection


cdef void release_connection(Core* core, Connection* connection) noexcept nogil:
    core.connections[connection.index] = NULL
    core.connection_count -= 1
    free(connection.residue)
    if connection.session != NULL:
        unlink(connection)
        leave_session(core, connection.session)
    free(connection)


# --- sessions ---

cdef Session* take_session(Core* core, uint64_t token, uint32_t lun_count) noexcept nogil:
    cdef Session* session = <Session*>calloc(1, sizeof(Session))
    if session == NULL:
        return NULL
    session.luns = <NexusState**>calloc(lun_count + 1, sizeof(NexusState*))
    if session.luns == NULL:
        free(session)
        return NULL
    session.token = token
    session.lun_count = lun_count
    session.next = core.sessions
    core.sessions = session
    return session


cdef Session* session_of(Core* core, uint64_t token) noexcept nogil:
    cdef Session* session = core.sessions
    while session != NULL and session.token != token:
        session = session.next
    return session


cdef void join_session(Session* session, Connection* connection) noexcept nogil:
    connection.session = session
    connection.sibling = session.first
    session.multiple = session.multiple or session.first != NULL
    session.first = connection
    session.connections += 1


cdef void unlink(Connection* connection) noexcept nogil:
    cdef Connection** place = &connection.session.first
    while place[0] != connection:
        place = &place[0].sibling
    place[0] = connection.sibling


cdef bint leave_session(Core* core, Session* session) noexcept nogil:
    cdef Session** place = &core.sessions
    session.connections -= 1
    if session.connections:
        return False
    while place[0] != session:
        place = &place[0].next
    place[0] = session.next
    free(session.luns)
    free(session)
    return True


cdef Connection* connection_of(Session* session, uint32_t link) noexcept nogil:
    cdef Connection* connection = session.first
    while connection != NULL and (connection.closed or (link != <uint32_t>NOBODY and connection.link != link)):
        connection = connection.sibling
    return connection


# --- queues ---

cdef void run_soon(Core* core, Connection* connection) noexcept nogil:
    if connection.running or connection.closed:
        return
    connection.running = True
    connection.next_running = NULL
    core.running_count += 1
    if core.running_last != NULL:
        core.running_last.next_running = connection
    else:
        core.running_first = connection
    core.running_last = connection


cdef void stop_running(Core* core, Connection* connection) noexcept nogil:
    cdef Connection* before = NULL
    cdef Connection* here = core.running_first
    if not connection.running:
        return
    while here != NULL and here != connection:
        before = here
        here = here.next_running
    if here != NULL:
        if before != NULL:
            before.next_running = here.next_running
        else:
            core.running_first = here.next_running
        if core.running_last == here:
            core.running_last = before
    connection.running = False
    connection.next_running = NULL
    core.running_count -= 1


cdef void enqueue(Core* core, Task* task, int phase) noexcept nogil:
    cdef Connection* connection = task.connection
    task.phase = <uint8_t>phase
    task.queued = True
    task.next = NULL
    if connection.send_last != NULL:
        connection.send_last.next = task
    else:
        connection.send_first = task
    connection.send_last = task
    run_soon(core, connection)


cdef void dequeue(Connection* connection) noexcept nogil:
    cdef Task* task = connection.send_first
    connection.send_first = task.next
    if connection.send_first == NULL:
        connection.send_last = NULL
    task.next = NULL
    task.queued = False


cdef Task* cut(Task** first, Task* task) noexcept nogil:
    """Takes task out of a list; returns the one before it."""
    cdef Task* before = NULL
    cdef Task* here = first[0]
    while here != NULL and here != task:
        before = here
        here = here.next
    if here != NULL:
        if before != NULL:
            before.next = here.next
        else:
            first[0] = here.next
        here.next = NULL
    return before


cdef void unqueue(Core* core, Task* task) noexcept nogil:
    cdef Task* before
    cdef Connection* connection = task.connection
    if task.queued:
        before = cut(&connection.send_first, task)
        if connection.send_last == task:
            connection.send_last = before
        task.queued = False
    elif task.phase == PHASE_PARKED:
        cut(&core.parked, task)
    elif task.phase == PHASE_ROOM:
        before = cut(&core.room_first, task)
        if core.room_last == task:
            core.room_last = before
