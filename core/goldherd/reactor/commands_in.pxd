"""How a reactor acts on messages of the control plane."""

from goldherd.session.core cimport Core
from goldherd.session.messages cimport Message
from goldherd.session.state cimport Connection, NexusState

cdef struct Attachment:
    # the payload of MESSAGE_ATTACH: a connection that has finished its login
    int fd
    unsigned char joins             # one more connection of a session that is there
    unsigned char reinstates        # and it replaces one that was closed for it
    unsigned int exp_cmd_sn
    unsigned int stat_sn
    unsigned int max_send_segment
    unsigned int max_receive_segment
    unsigned int max_burst
    unsigned int first_burst
    unsigned char initial_r2t
    unsigned char immediate_data
    unsigned char header_digest
    unsigned char data_digest
    unsigned int lun_count
    unsigned int residual_bytes     # already received behind the login, after the pointers in the payload
    unsigned long long aligned[0]   # those pointers
    # then lun_count pointers to NexusState, then the residual bytes

# Acts on one message and frees it. Returns a connection that the driver must begin to watch (fd, epoll), or one
# that it must close (closed not yet set, reason given), or NULL.
cdef Connection* act(Core* core, Message* message, bint* ends) noexcept nogil
