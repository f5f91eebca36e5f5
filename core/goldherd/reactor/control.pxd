"""The control API of a reactor: messages that Python sends to it; and the state that all drivers share."""

from goldherd.reactor.events_out cimport EventQueue
from goldherd.session.core cimport Core

cdef class ReactorControl:
    cdef Core core
    cdef readonly int number
    cdef readonly EventQueue events
    cdef dict units                 # session id -> objects that must live as long as the session
