"""What happens to a batch that the socket did not take whole, and to received bytes that are not whole PDUs."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection

cdef void clear_batch(Core* core) noexcept nogil
# `sent` bytes of the batch are gone: keeps the rest with the connection. False when memory ran out.
cdef bint keep_rest(Core* core, Connection* connection, uint64_t sent) noexcept nogil
# `sent` bytes of the pending rest are gone; frees it and its pins when that was all.
cdef void pending_sent(Connection* connection, uint64_t sent) noexcept nogil
cdef void drop_pending(Connection* connection) noexcept nogil
# Keeps bytes that were received but not used up.
cdef bint keep_residue(Connection* connection, const uint8_t* bytes, uint32_t length, bint whole) noexcept nogil
