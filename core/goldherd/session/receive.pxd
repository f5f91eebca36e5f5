"""PDUs from the initiator: received bytes in, steps of tasks out."""

from libc.stdint cimport uint8_t, uint32_t

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection

# Takes whole PDUs off the front of the buffer; returns how many bytes are used up. Stops when the batch is full
# (needs_input False), when the connection is closing, or when a PDU is not complete (needs_input True).
cdef uint32_t consume(Core* core, Connection* connection, uint8_t* buffer, uint32_t length, bint* needs_input) noexcept nogil

# Where the driver may receive to directly while the data of one PDU is under way: fills place and room
# (room 0: nowhere, receive into the buffer of consume). sink_received() tells how much came.
cdef void sink_place(Core* core, Connection* connection, uint8_t** place, uint32_t* room) noexcept nogil
cdef void sink_received(Core* core, Connection* connection, uint32_t length) noexcept nogil
