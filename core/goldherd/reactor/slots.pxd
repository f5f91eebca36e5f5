"""Memory of a reactor that is used again and again: tasks, write buffers, connections."""

from libc.stdint cimport uint32_t, uint64_t

from goldherd.reactor.core cimport Core
from goldherd.session.session cimport Connection, Session, Task

cdef int open_core(Core* core) except -1
cdef void close_core(Core* core) noexcept nogil

# A task of the connection's session, zeroed, with tag and serial; NULL when there are too many.
cdef Task* take_task(Core* core, Connection* connection) noexcept nogil
# Gives back the task with all it holds; it must stand in no queue.
cdef void release_task(Core* core, Task* task) noexcept nogil
# While it is watched for, every fetch that ends wakes this reactor.
cdef void watch(Core* core, Task* task) noexcept nogil
cdef void stop_watching(Core* core, Task* task) noexcept nogil
# The live task with this Target Transfer Tag, or NULL.
cdef Task* task_of(Core* core, uint32_t tag) noexcept nogil

# A write buffer, counted; NULL when the session holds as much as is left for others.
cdef char* take_buffer(Core* core, Session* session, uint32_t length) noexcept nogil
cdef void release_buffer(Core* core, Session* session, char* buffer, uint32_t length) noexcept nogil

cdef Connection* take_connection(Core* core) noexcept nogil
cdef void release_connection(Core* core, Connection* connection) noexcept nogil
cdef Connection* connection_of(Core* core, uint32_t index, uint32_t generation) noexcept nogil

# Queues of tasks and of connections.
cdef void enqueue(Core* core, Task* task, int phase) noexcept nogil     # to the end of its send queue, and run it
cdef void dequeue(Connection* connection) noexcept nogil                # takes the first off the send queue
cdef void unqueue(Core* core, Task* task) noexcept nogil                # out of whatever queue it stands in
cdef void run_soon(Core* core, Connection* connection) noexcept nogil
cdef void stop_running(Core* core, Connection* connection) noexcept nogil
