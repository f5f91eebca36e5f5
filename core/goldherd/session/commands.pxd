"""The first step of SCSI commands, and what other PDUs share with it."""

from libc.stdint cimport uint8_t, uint32_t

from goldherd.session.core cimport Core
from goldherd.scsi.fastpath.unit cimport NexusState
from goldherd.session.state cimport Connection, Session, Task

# A SCSI Command PDU; its data segment is at `data` if it is `whole`, else it will come through the sink.
cdef void scsi_command(Core* core, Connection* c, const uint8_t* header, const uint8_t* data, uint32_t length,
                       bint whole) noexcept nogil
# Tells the initiator which PDU was wrong, by its header (as much of it as is here), then ends the connection.
cdef void protocol_error(Core* core, Connection* c, const uint8_t* header, uint32_t header_bytes, int reason) noexcept nogil
# Whether the PDU is the next one in order, or immediate; counts it.
cdef bint numbered(Core* core, Connection* c, const uint8_t* header) noexcept nogil
# Whether the session holds all the tasks it may.
cdef bint task_set_full(Session* session) noexcept nogil
cdef NexusState* nexus_of(Session* session, const uint8_t* header) noexcept nogil
cdef Task* make_task(Core* core, Connection* c, const uint8_t* header, NexusState* nexus, uint32_t expected,
                     int purpose) noexcept nogil
