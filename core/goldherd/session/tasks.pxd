"""What a task does next: from its arrival to its release."""

from libc.stdint cimport uint32_t, uint64_t

from goldherd.scsi.fastpath.unit cimport UnitState
from goldherd.session.core cimport Core
from goldherd.session.state cimport Connection, Task

# Works through the connection's send queue while the batch has room.
cdef void send_queued(Core* core, Connection* connection) noexcept nogil
# A read that could not be answered from the batch at once.
cdef void wait_for_data(Core* core, Task* task, int emitted) noexcept nogil
# `length` bytes of Data-Out have come; `final` is the F bit of their PDU.
cdef void data_arrived(Core* core, Task* task, uint32_t length, bint final) noexcept nogil
# Stores the chunk that is complete, here or on another thread.
# On the reactor, without waiting: -EAGAIN when a thread must do it.
cdef int store_now(Core* core, UnitState* unit, uint64_t offset, uint64_t length, const char* data) noexcept nogil
cdef void execute(Core* core, Task* task) noexcept nogil
# Hands the task to the control plane, with the Data-Out it has.
cdef void send_to_control(Core* core, Task* task) noexcept nogil
cdef void start_job(Core* core, Task* task, int operation) noexcept nogil
# Gives the task its write buffer; False when it must wait or was refused.
cdef bint get_buffer(Core* core, Task* task, uint32_t length) noexcept nogil
# Buffers were given back: the longest waiting writes get theirs.
cdef void grant_buffers(Core* core) noexcept nogil
# An R2T for what the chunk still lacks, as soon as there is a write buffer.
cdef void ask_for_data(Core* core, Task* task) noexcept nogil
cdef void fail(Core* core, Task* task, int error) noexcept nogil
# A write could not be stored: it waits if only space is missing, else it fails.
cdef void store_failed(Core* core, Task* task, int error) noexcept nogil
cdef bint hold_is_over(Core* core, UnitState* unit) noexcept nogil      # writes of a full disk fail from now on
cdef void remind(Core* core, Task* task) noexcept nogil                 # shows the initiator that a held write goes on
cdef void conclude(Core* core, Task* task, int status) noexcept nogil
cdef void give_back(Core* core, Task* task) noexcept nogil          # its write buffer
cdef void abort_task(Core* core, Task* task) noexcept nogil
# After a fetch, or when a unit is not quiesced any more: every suspended task tries again.
cdef void retry_suspended(Core* core) noexcept nogil
# Ends the connection: its tasks, its memory; the caller has taken the socket away.
cdef void end_connection(Core* core, Connection* connection, int reason) noexcept nogil
cdef void report_closed(Core* core, Connection* connection) noexcept nogil
# Tells the control plane that a connection has ended; `last`: its session too.
cdef void post_closed(Core* core, uint64_t session_id, uint32_t number, int reason, bint last) noexcept nogil
cdef void job_done(Core* core, Task* task, int operation, int result) noexcept nogil
