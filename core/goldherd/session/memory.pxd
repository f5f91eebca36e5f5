"""Memory of a reactor that is used again and again: tasks and write buffers."""

from libc.stdint cimport uint32_t, uint64_t

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection, Session, Task

cdef int open_core(Core* core) except -1
cdef void close_core(Core* core) noexcept nogil

# A task of the connection's session, zeroed, with tag and serial; NULL when there are too many.
cdef Task* take_task(Core* core, Connection* connection) noexcept nogil
# Gives back the task with all it holds; it must stand in no queue.
cdef void release_task(Core* core, Task* task) noexcept nogil
# While a task awaits a fetch, every fetch that ends wakes this reactor.
cdef void await_fetch(Core* core, Task* task) noexcept nogil
cdef void stop_awaiting_fetch(Core* core, Task* task) noexcept nogil
# The live task with this Target Transfer Tag, or NULL.
cdef Task* task_of(Core* core, uint32_t tag) noexcept nogil
# The live SCSI task with this Initiator Task Tag as it came, or NULL.
cdef Task* known_task(Session* session, uint32_t itt) noexcept nogil

# A write buffer, counted; NULL when the session holds as much as is left for others.
cdef char* take_buffer(Core* core, Session* session, uint32_t length) noexcept nogil
cdef void release_buffer(Core* core, Session* session, char* buffer, uint32_t length) noexcept nogil
