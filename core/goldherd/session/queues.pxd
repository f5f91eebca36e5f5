"""Queues of a reactor: connections that have something to do, and the tasks that a connection sends."""

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection, Task

# The run queue: connections that the loop serves in its next step.
cdef void run_soon(Core* core, Connection* connection) noexcept nogil
cdef void stop_running(Core* core, Connection* connection) noexcept nogil

# A task to the end of its connection's send queue, and the connection into the run queue.
cdef void enqueue(Core* core, Task* task, int phase) noexcept nogil
# The first task leaves the send queue.
cdef void dequeue(Connection* connection) noexcept nogil
# A write goes to the end of those that wait for space.
cdef void await_space(Core* core, Task* task) noexcept nogil
# The task leaves the queue in which it stands, whichever that is.
cdef void unqueue(Core* core, Task* task) noexcept nogil
