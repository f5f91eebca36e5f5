"""The control plane's letter box, as compiled code sees it."""

from goldherd.session.messages cimport Mailbox

cdef class Outbox:
    cdef Mailbox box
