"""The sessions and connections of a reactor: made, found and given back.

A session is found by its id, a connection by its index (the one that its driver knows) or by its number in its session.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from goldherd.scsi.unit cimport NexusState
from goldherd.session.core cimport ANY_CONNECTION


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
        drop_from_session(connection)
        leave_session(core, connection.session)
    free(connection)


cdef void free_connections(Core* core) noexcept nogil:
    cdef uint32_t i
    for i in range(core.connection_room):
        if core.connections[i] != NULL:
            free(core.connections[i])
    free(core.connections)


# --- sessions ---

cdef Session* take_session(Core* core, uint64_t session_id, uint32_t lun_count) noexcept nogil:
    cdef Session* session = <Session*>calloc(1, sizeof(Session))
    if session == NULL:
        return NULL
    session.luns = <NexusState**>calloc(lun_count + 1, sizeof(NexusState*))
    if session.luns == NULL:
        free(session)
        return NULL
    session.id = session_id
    session.lun_count = lun_count
    session.next = core.sessions
    core.sessions = session
    return session


cdef Session* session_of(Core* core, uint64_t session_id) noexcept nogil:
    cdef Session* session = core.sessions
    while session != NULL and session.id != session_id:
        session = session.next
    return session


cdef void join_session(Session* session, Connection* connection) noexcept nogil:
    connection.session = session
    connection.sibling = session.first
    session.multiple = session.multiple or session.first != NULL
    session.first = connection
    session.connections += 1


cdef void drop_from_session(Connection* connection) noexcept nogil:
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


cdef Connection* connection_of(Session* session, uint32_t number) noexcept nogil:
    cdef Connection* connection = session.first
    while connection != NULL and (connection.closed or (number != <uint32_t>ANY_CONNECTION and connection.number != number)):
        connection = connection.sibling
    return connection
