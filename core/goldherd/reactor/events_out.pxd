"""The queue of events from all reactors, as compiled code sees it."""

from goldherd.session.messages cimport MessageQueue

cdef class EventQueue:
    cdef MessageQueue queue
