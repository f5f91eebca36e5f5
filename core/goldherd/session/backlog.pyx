"""Backpressure: the rest of a batch when the socket is full, and received bytes that have to wait.

Payload that lies in an image's memory is not copied: its pins are raised until it is sent. What lies in the
reactor's own arenas is copied once, because the next connection needs them.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.uio cimport iovec

from goldherd.native.limits cimport BATCH_CONTROL_BYTES, BATCH_DATA_BYTES, RESIDUE_KEPT_BYTES
from goldherd.native.sanitizer cimport poison
from goldherd.session.batch cimport Batch
from goldherd.session.state cimport Pending

cdef extern from * nogil:
    uint32_t add_uint "__atomic_add_fetch"(uint32_t*, uint32_t, int)
    int __ATOMIC_SEQ_CST


cdef void clear_batch(Core* core) noexcept nogil:
    poison(core.batch.control, core.batch.control_used)
    core.batch.count = 0
    core.batch.bytes = 0
    core.batch.control_used = 0
    core.batch.data_used = 0


cdef inline bint is_ours(Batch* batch, const void* place) noexcept nogil:
    return ((<uint8_t*>place >= batch.control and <uint8_t*>place < batch.control + BATCH_CONTROL_BYTES)
            or (<char*>place >= batch.data and <char*>place < batch.data + BATCH_DATA_BYTES))


cdef bint keep_rest(Core* core, Connection* connection, uint64_t sent) noexcept nogil:
    cdef Batch* batch = core.batch
    cdef Pending* pending
    cdef int first = 0
    cdef int i
    cdef int count
    cdef uint64_t copied = 0
    cdef iovec* entry
    while first < batch.count and sent >= batch.iov[first].iov_len:
        sent -= batch.iov[first].iov_len
        first += 1
    batch.iov[first].iov_base = <uint8_t*>batch.iov[first].iov_base + sent
    batch.iov[first].iov_len -= sent
    count = batch.count - first
    for i in range(first, batch.count):
        if is_ours(batch, batch.iov[i].iov_base):
            copied += batch.iov[i].iov_len
    pending = <Pending*>calloc(1, sizeof(Pending))
    if pending == NULL:
        return False
    pending.iov = <iovec*>malloc(count * sizeof(iovec))
    pending.pins = <uint32_t**>malloc(count * sizeof(uint32_t*))
    pending.copy = <char*>malloc(copied if copied else 1)
    if pending.iov == NULL or pending.pins == NULL or pending.copy == NULL:
        free(pending.iov)
        free(pending.pins)
        free(pending.copy)
        free(pending)
        return False
    pending.count = count
    copied = 0
    for i in range(count):
        entry = &batch.iov[first + i]
        pending.iov[i] = entry[0]
        pending.pins[i] = batch.pins[first + i]
        if is_ours(batch, entry.iov_base):
            memcpy(pending.copy + copied, entry.iov_base, entry.iov_len)
            pending.iov[i].iov_base = pending.copy + copied
            copied += entry.iov_len
        elif pending.pins[i] != NULL:
            add_uint(pending.pins[i], 1, __ATOMIC_SEQ_CST)
    connection.pending = pending
    return True


cdef void pending_sent(Connection* connection, uint64_t sent) noexcept nogil:
    cdef Pending* pending = connection.pending
    cdef iovec* entry
    while pending.first < pending.count:
        entry = &pending.iov[pending.first]
        if sent < entry.iov_len:
            entry.iov_base = <uint8_t*>entry.iov_base + sent
            entry.iov_len -= sent
            return
        sent -= entry.iov_len
        if pending.pins[pending.first] != NULL:
            add_uint(pending.pins[pending.first], <uint32_t>-1, __ATOMIC_SEQ_CST)
        pending.first += 1
    drop_pending(connection)


cdef void drop_pending(Connection* connection) noexcept nogil:
    cdef Pending* pending = connection.pending
    cdef int i
    if pending == NULL:
        return
    for i in range(pending.first, pending.count):
        if pending.pins[i] != NULL:
            add_uint(pending.pins[i], <uint32_t>-1, __ATOMIC_SEQ_CST)
    free(pending.iov)
    free(pending.pins)
    free(pending.copy)
    free(pending)
    connection.pending = NULL


cdef bint keep_residue(Connection* connection, const uint8_t* bytes, uint32_t length, bint whole) noexcept nogil:
    connection.residue_whole = whole and length > 0
    connection.residue_bytes = length
    if length > connection.residue_room or connection.residue_room > <uint32_t>RESIDUE_KEPT_BYTES:
        free(connection.residue)
        connection.residue = NULL
        connection.residue_room = 0
        if length:
            connection.residue = <char*>malloc(length)
            if connection.residue == NULL:
                connection.residue_bytes = 0
                return False
            connection.residue_room = length
    if length:
        memcpy(connection.residue, bytes, length)
    return True
