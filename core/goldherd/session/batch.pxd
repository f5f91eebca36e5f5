"""What one sendmsg takes: headers and payload of all answers to one recv, as an iovec.

A reactor has one batch; between two flushes it belongs to one connection. Headers and small payload are written
into the batch's own two arenas, large payload is only pointed at.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec

from goldherd.native.limits cimport (
    BATCH_BYTES_MAX, BATCH_CONTROL_BYTES, BATCH_CONTROL_RESERVE_BYTES, BATCH_DATA_BYTES, BATCH_DATA_RESERVE_BYTES,
    BATCH_IOVECS, BATCH_IOVEC_RESERVE)
from goldherd.native.sanitizer cimport unpoison

cdef struct Batch:
    int count
    uint64_t bytes          # in all entries
    uint32_t control_used
    uint32_t data_used
    uint8_t* control        # headers, digests, small answers
    char* data              # payload that had to be copied
    iovec iov[BATCH_IOVECS]
    uint32_t* pins[BATCH_IOVECS]    # counter that holds the entry's memory in place, or NULL

cdef inline bint has_room(Batch* batch) noexcept nogil:
    """Whether any one PDU of ours still fits."""
    return (batch.count <= BATCH_IOVECS - BATCH_IOVEC_RESERVE
            and batch.control_used <= BATCH_CONTROL_BYTES - BATCH_CONTROL_RESERVE_BYTES
            and batch.data_used <= BATCH_DATA_BYTES - BATCH_DATA_RESERVE_BYTES
            and batch.bytes <= BATCH_BYTES_MAX)

cdef inline uint8_t* put_control(Batch* batch, uint32_t length) noexcept nogil:
    """Room for a header or a small answer at the end of the batch; the caller fills all of it."""
    cdef uint8_t* place = batch.control + batch.control_used
    cdef iovec* last
    unpoison(place, length)
    batch.control_used += length
    batch.bytes += length
    if batch.count:
        last = &batch.iov[batch.count - 1]
        if <uint8_t*>last.iov_base + last.iov_len == place:     # headers in a row travel as one entry
            last.iov_len += length
            return place
    batch.iov[batch.count].iov_base = place
    batch.iov[batch.count].iov_len = length
    batch.pins[batch.count] = NULL
    batch.count += 1
    return place

cdef inline void put_memory(Batch* batch, const void* memory, uint64_t length, uint32_t* pins) noexcept nogil:
    """Payload that stays where it is until the flush; pins hold it longer if the socket is full."""
    batch.iov[batch.count].iov_base = <void*>memory
    batch.iov[batch.count].iov_len = length
    batch.pins[batch.count] = pins
    batch.count += 1
    batch.bytes += length

cdef Batch* make_batch() except NULL
cdef void free_batch(Batch* batch) noexcept nogil
