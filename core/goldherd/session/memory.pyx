"""Memory of a reactor that is used again and again: its buffers for receiving and sending, tasks in slabs, write buffers.

A tag is the index of a task (20 bits) and its generation (12 bits): Data-Out for a task that is gone is recognised,
and the look-up is one step.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from goldherd.native.limits cimport (
    EMIT_BYTES_MAX, FREE_BUFFER_BYTES_MAX, RECEIVE_BYTES, TASKS_MAX, WRITE_BUFFER_BYTES_MAX, WRITE_BUFFER_BYTES_MIN,
    WRITE_CHUNK_BYTES_MAX, check_relations, require)
from goldherd.native.sanitizer cimport poison, unpoison
from goldherd.session.batch cimport free_batch, make_batch
from goldherd.session.connections cimport free_connections
from goldherd.session.codes cimport PURPOSE_PDU
from goldherd.session.core cimport INPUT_BYTES
from goldherd.session.messages cimport close_queue, open_queue
from goldherd.session.phases cimport PHASE_FREE
from goldherd.session.state cimport DrainEntry, enter

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
    BUFFER_BITS_MAX = 20        # the longest kept: 1 << BUFFER_BITS_MAX is WRITE_CHUNK_BYTES_MAX


cdef inline void check_sizes() noexcept nogil:
    """Numbers of this file that follow from bounds; the C compiler refuses those that do not."""
    require(SLAB_TASKS == 1 << SLAB_BITS)
    require(TASKS_MAX == 1 << INDEX_BITS)
    require(INDEX_MASK == TASKS_MAX - 1)
    require(WRITE_BUFFER_BYTES_MIN == 1 << BUFFER_BITS_MIN)
    require(WRITE_CHUNK_BYTES_MAX == 1 << BUFFER_BITS_MAX)


cdef int open_core(Core* core) except -1:
    check_relations()
    check_sizes()
    memset(core, 0, sizeof(Core))
    core.messages.eventfd = -1
    core.batch = make_batch()
    core.receive = <uint8_t*>malloc(INPUT_BYTES)
    core.scratch = <uint8_t*>malloc(RECEIVE_BYTES)
    core.zeros = <const char*>calloc(1, EMIT_BYTES_MAX)
    core.slabs = <Task**>calloc(TASKS_MAX / SLAB_TASKS, sizeof(Task*))
    core.free_buffers = <void**>calloc(BUFFER_BITS_MAX + 1, sizeof(void*))
    if not (core.receive and core.scratch and core.zeros and core.slabs and core.free_buffers):
        close_core(core)
        raise MemoryError
    open_queue(&core.messages)
    core.listener.eventfd = core.messages.eventfd
    return 0


cdef void close_core(Core* core) noexcept nogil:
    cdef uint32_t i
    close_queue(&core.messages)
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
    free_connections(core)
    memset(core, 0, sizeof(Core))
    core.messages.eventfd = -1


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
    cdef DrainEntry* entry
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
    stop_awaiting_fetch(core, task)
    if task.buffer_bytes:
        release_buffer(core, session, task.buffer, task.buffer_bytes)
    free(task.owned)
    while task.drains != NULL:
        entry = task.drains
        task.drains = entry.next
        free(entry)
    enter(task, PHASE_FREE)
    task.connection = NULL
    task.next = core.free_tasks
    core.free_tasks = task
    close_task(task)


cdef void await_fetch(Core* core, Task* task) noexcept nogil:
    if not task.awaits_fetch:
        task.awaits_fetch = True
        add_int(&core.listener.waiting, 1, __ATOMIC_SEQ_CST)


cdef void stop_awaiting_fetch(Core* core, Task* task) noexcept nogil:
    if task.awaits_fetch:
        task.awaits_fetch = False
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
