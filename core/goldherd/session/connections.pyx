"""The sessions and connections of a reactor: made, found and given back.

A session is found by its id, in a hash table that grows with their number. A connection is found by its index, which its
driver knows, or by its number in its session. All of it takes as long with 10,000 sessions as with one.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from goldherd.scsi.fastpath.unit cimport NexusState
from goldherd.session.core cimport ANY_CONNECTION

cdef enum:
    CONNECTION_ROOM_FIRST = 64      # places that the first connection makes; then they double
    TABLE_BITS_FIRST = 6


# --- connections ---

cdef bint add_places(Core* core) noexcept nogil:
    cdef uint32_t room = core.connection_room * 2 if core.connection_room else CONNECTION_ROOM_FIRST
    cdef uint32_t index = room
    cdef Connection** more = <Connection**>realloc(core.connections, room * sizeof(Connection*))
    cdef uint32_t* indices
    if more == NULL:
        return False
    core.connections = more
    indices = <uint32_t*>realloc(core.free_indices, room * sizeof(uint32_t))
    if indices == NULL:
        return False
    core.free_indices = indices
    memset(core.connections + core.connection_room, 0, (room - core.connection_room) * sizeof(Connection*))
    while index > core.connection_room:     # no place was free: the new ones are all that are, the lowest is the last
        index -= 1
        core.free_indices[room - 1 - index] = index
    core.connection_room = room
    return True


cdef Connection* take_connection(Core* core) noexcept nogil:
    cdef Connection* connection
    if core.connection_count == core.connection_room and not add_places(core):
        return NULL
    connection = <Connection*>calloc(1, sizeof(Connection))
    if connection == NULL:
        return NULL
    core.connection_count += 1
    connection.index = core.free_indices[core.connection_room - core.connection_count]
    connection.fd = -1
    core.connections[connection.index] = connection
    return connection


cdef void release_connection(Core* core, Connection* connection) noexcept nogil:
    core.connections[connection.index] = NULL
    core.free_indices[core.connection_room - core.connection_count] = connection.index
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
    free(core.free_indices)
    free(core.session_table)


# --- sessions ---

cdef inline Session** entry_of(Core* core, uint64_t session_id) noexcept nogil:
    """Fibonacci hashing: a reactor's ids rise in even steps, and would fill every second or fourth entry only."""
    return &core.session_table[(session_id * <uint64_t>0x9E3779B97F4A7C15) >> (64 - core.session_table_bits)]


cdef bint grow_table(Core* core) noexcept nogil:
    """Twice the entries; without memory for them the table stays as it is, and the lists in it get longer."""
    cdef uint32_t bits = core.session_table_bits + 1 if core.session_table_bits else TABLE_BITS_FIRST
    cdef Session** fresh = <Session**>calloc(<size_t>1 << bits, sizeof(Session*))
    cdef Session* session = core.sessions
    if fresh == NULL:
        return core.session_table != NULL
    free(core.session_table)
    core.session_table = fresh
    core.session_table_bits = bits
    while session != NULL:
        enter_table(core, session)
        session = session.next
    return True


cdef inline void enter_table(Core* core, Session* session) noexcept nogil:
    cdef Session** entry = entry_of(core, session.id)
    session.next_of_hash = entry[0]
    entry[0] = session


cdef Session* take_session(Core* core, uint64_t session_id, uint32_t lun_count) noexcept nogil:
    cdef Session* session
    if core.session_table_bits == 0 or core.session_count >> core.session_table_bits:
        if not grow_table(core):
            return NULL
    session = <Session*>calloc(1, sizeof(Session))
    if session == NULL:
        return NULL
    session.luns = <NexusState**>calloc(lun_count + 1, sizeof(NexusState*))
    if session.luns == NULL:
        free(session)
        return NULL
    session.id = session_id
    session.lun_count = lun_count
    session.next = core.sessions
    if core.sessions != NULL:
        core.sessions.previous = session
    core.sessions = session
    core.session_count += 1
    enter_table(core, session)
    return session


cdef Session* session_of(Core* core, uint64_t session_id) noexcept nogil:
    cdef Session* session
    if core.session_table == NULL:
        return NULL
    session = entry_of(core, session_id)[0]
    while session != NULL and session.id != session_id:
        session = session.next_of_hash
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
    cdef Session** place
    session.connections -= 1
    if session.connections:
        return False
    if session.next != NULL:
        session.next.previous = session.previous
    if session.previous != NULL:
        session.previous.next = session.next
    else:
        core.sessions = session.next
    place = entry_of(core, session.id)
    while place[0] != session:
        place = &place[0].next_of_hash
    place[0] = session.next_of_hash
    core.session_count -= 1
    free(session.luns)
    free(session)
    return True


cdef Connection* connection_of(Session* session, uint32_t number) noexcept nogil:
    cdef Connection* connection = session.first
    while connection != NULL and (
            connection.closed or (number != <uint32_t>ANY_CONNECTION and connection.number != number)):
        connection = connection.sibling
    return connection
