"""How a reactor acts on messages of the control plane."""

from goldherd.session.core cimport Core
from goldherd.session.messages cimport Message
from goldherd.session.state cimport Connection

# Acts on one message and frees it. Returns a connection that the driver must begin to watch (fd, epoll), or one
# that it must close (`ends`; closed not yet set, reason given), or NULL.
cdef Connection* act(Core* core, Message* message, bint* ends) noexcept nogil
# Tells the control plane, once for each hold, that nothing is under way on other threads and in the control plane.
cdef void report_still(Core* core) noexcept nogil
cdef bint is_still(Core* core) noexcept nogil
