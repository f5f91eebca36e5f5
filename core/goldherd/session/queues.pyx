"""Queues of a reactor: connections that have something to do (the run queue), and the tasks that a connection sends."""

from libc.stdint cimport uint8_t

from goldherd.native.linux cimport add32
from goldherd.session.phases cimport PHASE_BUFFER, PHASE_SPACE, PHASE_SUSPENDED
from goldherd.session.state cimport enter


# --- the run queue ---

cdef void run_soon(Core* core, Connection* connection) noexcept nogil:
    if connection.running or connection.closed:
        return
    connection.running = True
    connection.next_running = NULL
    connection.previous_running = core.running_last
    core.running_count += 1
    if core.running_last != NULL:
        core.running_last.next_running = connection
    else:
        core.running_first = connection
    core.running_last = connection


cdef void stop_running(Core* core, Connection* connection) noexcept nogil:
    if not connection.running:
        return
    if connection.previous_running != NULL:
        connection.previous_running.next_running = connection.next_running
    else:
        core.running_first = connection.next_running
    if connection.next_running != NULL:
        connection.next_running.previous_running = connection.previous_running
    else:
        core.running_last = connection.previous_running
    connection.running = False
    connection.next_running = connection.previous_running = NULL
    core.running_count -= 1


# --- tasks in queues ---

cdef void enqueue(Core* core, Task* task, int phase) noexcept nogil:
    cdef Connection* connection = task.connection
    enter(task, phase)
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


cdef void await_space(Core* core, Task* task) noexcept nogil:
    enter(task, PHASE_SPACE)
    add32(&task.nexus.unit.space_waits, 1)
    task.next = NULL
    if core.space_waiters_last != NULL:
        core.space_waiters_last.next = task
    else:
        core.space_waiters_first = task
    core.space_waiters_last = task


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
    elif task.phase == PHASE_SUSPENDED:
        cut(&core.suspended, task)
    elif task.phase == PHASE_BUFFER:
        before = cut(&core.buffer_waiters_first, task)
        if core.buffer_waiters_last == task:
            core.buffer_waiters_last = before
    elif task.phase == PHASE_SPACE:
        add32(&task.nexus.unit.space_waits, -1)
        before = cut(&core.space_waiters_first, task)
        if core.space_waiters_last == task:
            core.space_waiters_last = before
