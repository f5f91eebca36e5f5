"""PDUs towards the initiator, written into the batch."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection, Task

cdef enum EmitResult:
    EMIT_DONE = 0
    EMIT_FULL = 1       # the batch is full: flush, then go on with the same task
    EMIT_COLD = 2       # waits for a fetch that has been asked for
    EMIT_BLOCKING = 3   # a thread that may sleep must read the next part
    # below 0: -errno

# Data-In PDUs from task.done to task.move, the last with the status (phase collapse).
cdef int emit_read(Core* core, Connection* connection, Task* task) noexcept nogil
# Data-In PDUs from task.buffer, then the status, with sense if there is any.
cdef int emit_reply(Core* core, Connection* connection, Task* task) noexcept nogil
cdef void emit_response(Core* core, Connection* connection, uint32_t itt, int status, uint64_t cdb_bytes,
                        uint32_t expected, uint32_t exp_data_sn, const char* sense, uint32_t sense_bytes) noexcept nogil
cdef void emit_r2t(Core* core, Connection* connection, Task* task) noexcept nogil
cdef void emit_nop_in(Core* core, Connection* connection, uint32_t itt, uint32_t ttt, const uint8_t* lun,
                      const uint8_t* data, uint32_t length) noexcept nogil
# With the "complete header" of the PDU that is refused, basic and additional segments (RFC 7143 11.17.1); with the basic
# one alone if all is longer than the initiator takes.
cdef void emit_reject(Core* core, Connection* connection, int reason, const uint8_t* header,
                      uint32_t header_bytes) noexcept nogil
# A PDU the control plane made; only the sequence numbers are filled in.
cdef int emit_pdu(Core* core, Connection* connection, Task* task) noexcept nogil
# A prebuilt answer: one Data-In with status.
cdef void emit_answer(Core* core, Connection* connection, uint32_t itt, uint32_t expected, const uint8_t* answer,
                      uint32_t length) noexcept nogil
