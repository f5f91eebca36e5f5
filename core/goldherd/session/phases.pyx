"""Which phase of a task may follow which, and by which function: the state machine of the data plane as a table.

A phase changes by enter() (state.pxd) and by enqueue(), which calls it; tests/test_phases.py compares the table
with the calls in the source, and docs/phases.md with the table. Builds with a sanitizer look up every change as it
happens; other builds contain no trace of it.
"""

from libc.stdint cimport uint16_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort

TRANSITIONS = {
    Phase.PHASE_FREE: {
        Phase.PHASE_DATA_OUT: ("commands.collect_data_out", "handover.place"),
        Phase.PHASE_BUFFER: ("tasks.wait_for_buffer",),
        Phase.PHASE_SUSPENDED: ("tasks.suspend",),
        Phase.PHASE_POOL: ("tasks.start_job",),
        Phase.PHASE_CONTROL: ("tasks.hand_over", "receive.request"),
        Phase.PHASE_SPACE: ("queues.await_space",),
        Phase.PHASE_READ: ("commands.read_blocks", "tasks.wait_for_data", "handover.place"),
        Phase.PHASE_REPLY: ("tasks.conclude", "handover.place"),
        Phase.PHASE_R2T: ("tasks.ask_for_data", "handover.place"),
        Phase.PHASE_WRITE: ("handover.place",),
        Phase.PHASE_PDU: ("commands_in.send_pdu", "handover.place"),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_DATA_OUT: {
        Phase.PHASE_R2T: ("tasks.ask_for_data",),
        Phase.PHASE_SUSPENDED: ("tasks.suspend",),
        Phase.PHASE_POOL: ("tasks.start_job",),
        Phase.PHASE_CONTROL: ("tasks.hand_over",),
        Phase.PHASE_SPACE: ("queues.await_space",),
        Phase.PHASE_REPLY: ("tasks.conclude",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_BUFFER: {
        Phase.PHASE_R2T: ("tasks.ask_for_data",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_SUSPENDED: {
        Phase.PHASE_READ: ("tasks.retry_suspended",),
        Phase.PHASE_WRITE: ("tasks.retry_suspended",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_POOL: {
        Phase.PHASE_READ: ("tasks.job_done",),
        Phase.PHASE_R2T: ("tasks.ask_for_data",),
        Phase.PHASE_POOL: ("tasks.start_job",),
        Phase.PHASE_CONTROL: ("tasks.hand_over",),
        Phase.PHASE_SPACE: ("queues.await_space",),
        Phase.PHASE_REPLY: ("tasks.conclude",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_CONTROL: {
        Phase.PHASE_READ: ("commands_in.proceed",),
        Phase.PHASE_REPLY: ("commands_in.reply", "tasks.conclude"),
        Phase.PHASE_PDU: ("commands_in.send_pdu",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_SPACE: {
        Phase.PHASE_BUFFER: ("tasks.wait_for_buffer",),
        Phase.PHASE_R2T: ("tasks.ask_for_data", "tasks.remind"),
        Phase.PHASE_CONTROL: ("tasks.hand_over",),
        Phase.PHASE_REPLY: ("tasks.conclude",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_READ: {
        Phase.PHASE_READ: ("tasks.wait_for_data",),
        Phase.PHASE_SUSPENDED: ("tasks.suspend",),
        Phase.PHASE_POOL: ("tasks.start_job",),
        Phase.PHASE_CONTROL: ("tasks.hand_over",),
        Phase.PHASE_REPLY: ("tasks.conclude",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_REPLY: {
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_R2T: {
        Phase.PHASE_DATA_OUT: ("tasks.send_queued",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_WRITE: {
        Phase.PHASE_SUSPENDED: ("tasks.suspend",),
        Phase.PHASE_POOL: ("tasks.start_job",),
        Phase.PHASE_R2T: ("tasks.ask_for_data",),
        Phase.PHASE_CONTROL: ("tasks.hand_over",),
        Phase.PHASE_SPACE: ("queues.await_space",),
        Phase.PHASE_REPLY: ("tasks.conclude",),
        Phase.PHASE_FREE: ("memory.release_task",),
    },
    Phase.PHASE_PDU: {
        Phase.PHASE_FREE: ("memory.release_task",),
    },
}

cdef uint16_t[PHASE_PDU + 1] followers      # by phase: a bit for each that may follow

for _before, _following in TRANSITIONS.items():
    for _after in _following:
        followers[<int>_before] |= <uint16_t>(1 << <int>_after)


cdef void check_phase(int before, int after) noexcept nogil:
    if not followers[before] >> after & 1:
        fprintf(stderr, "phases.pyx: phase %d of a task may not follow phase %d\n", after, before)
        abort()


def may_follow(before: int, after: int) -> bool:
    """Whether check_phase() lets a phase follow another one."""
    return bool(followers[<int>before] >> <int>after & 1)
