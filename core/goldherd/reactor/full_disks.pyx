"""Writes that wait for space on a full disk: what a reactor does for them once a second.

A write that could not be stored for want of space is held without its data (session/tasks.pyx: wait_for_space). One of
a disk's held writes asks for its data every second and is tried again. When that succeeds, all others ask for theirs.
docs/full-disks.md tells why this way and not another.
"""

from libc.stdint cimport uint64_t

from goldherd.native.linux cimport load64, store64
from goldherd.native.limits cimport SPACE_REMINDER_MS, SPACE_RETRY_MS
from goldherd.scsi.fastpath.unit cimport UnitState, full_since
from goldherd.session.queues cimport unqueue
from goldherd.session.state cimport Task
from goldherd.session.tasks cimport ask_for_data, fail, hold_is_over, remind


cdef bint is_next_try(Core* core, UnitState* unit) noexcept nogil:
    """Whether a write of this disk is to be tried again now; one of all reactors' writes at a time."""
    if core.now_ms < load64(&unit.retried_ms) + SPACE_RETRY_MS:
        return False
    store64(&unit.retried_ms, core.now_ms)
    return True


cdef void look_after_full_disks(Core* core) noexcept nogil:
    cdef Task* task = core.space_waiters_first
    cdef Task* last = core.space_waiters_last        # what is held again meanwhile stands behind it
    cdef Task* following
    cdef UnitState* unit
    while task != NULL:
        following = task.next if task != last else NULL
        unit = task.nexus.unit
        if full_since(unit) == 0 or is_next_try(core, unit):
            unqueue(core, task)
            ask_for_data(core, task)
        elif hold_is_over(core, unit):
            unqueue(core, task)
            fail(core, task, task.error)
        elif core.now_ms >= task.reminded_ms + SPACE_REMINDER_MS:
            remind(core, task)
        task = following
