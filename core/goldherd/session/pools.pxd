"""Memory of a reactor that is used again and again: tasks, write buffers, connections; sessions."""

from libc.stdint cimport uint32_t, uint64_t

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection, Session, Task

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
# The live SCSI task with this Initiator Task Tag as it came, or NULL.
cdef Task* known_task(Session* session, uint32_t itt) noexcept nogil

# A write buffer, counted; NULL when the session holds as much as is left for others.
cdef char* take_buffer(Core* core, Session* session, uint32_t length) noexcept nogil
cdef void release_buffer(Core* core, Session* session, char* buffer, uint32_t length) noexcept nogil

cdef Connection* take_connection(Core* core) noexcept nogil
# Frees it, and its session if it was the last one.
cdef void release_connection(Core* core, Connection* connection) noexcept nogil

# A session with room for so many LUNs and no connection yet; NULL when out of memory.
cdef Session* take_session(Core* core, uint64_t token, uint32_t lun_count) noexcept nogil
cdef Session* session_of(Core* core, uint64_t token) noexcept nogil     # or NULL
# The connection is one of the session's from now on.
cdef void join_session(Session* session, Connection* connection) noexcept nogil
# One connection less, or the place of one: frees the session when it was the last. Returns whether it was.
cdef bint leave_session(Core* core, Session* session) noexcept nogil
# The session's open connection with this link, or any (NOBODY); NULL when there is none.
cdef Connection* connection_of(Session* session, uint32_t link) noexcept nogil

# Queues of tasks and of connections.
cdef void enqueue(Core* core, Task* task, int phase) noexcept nogil     # to the end of its send queue, and run it
cdef void dequeue(Connection* connection) noexcept nogil                # takes the first off the send queue
cdef void unqueue(Core* core, Task* task) noexcept nogil                # out of whatever queue it stands in
cdef void run_soon(Core* core, Connection* connection) noexcept nogil
cdef void stop_running(Core* core, Connection* connection) noexcept nogil
