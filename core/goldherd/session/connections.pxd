"""The sessions and connections of a reactor: made, found and given back."""

from libc.stdint cimport uint32_t, uint64_t

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection, Session

cdef Connection* take_connection(Core* core) noexcept nogil
# Frees it, and its session if it was the last one.
cdef void release_connection(Core* core, Connection* connection) noexcept nogil
# All that are left, at the end of the reactor.
cdef void free_connections(Core* core) noexcept nogil

# A session with room for so many LUNs and no connection yet; NULL when out of memory.
cdef Session* take_session(Core* core, uint64_t session_id, uint32_t lun_count) noexcept nogil
cdef Session* session_of(Core* core, uint64_t session_id) noexcept nogil    # or NULL
# The connection is one of the session's from now on.
cdef void join_session(Session* session, Connection* connection) noexcept nogil
# One connection less, or the place of one: frees the session when it was the last. Returns whether it was.
cdef bint leave_session(Core* core, Session* session) noexcept nogil
# The session's open connection with this number, or any (ANY_CONNECTION); NULL when there is none.
cdef Connection* connection_of(Session* session, uint32_t number) noexcept nogil
