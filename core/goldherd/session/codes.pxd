"""Codes of the data plane that both languages use, each in one list."""

cpdef enum CloseReason:
    CLOSE_PEER = 1          # end of stream or a socket error
    CLOSE_LOGOUT = 2        # after the Logout Response, or because the control plane said so
    CLOSE_PROTOCOL = 3      # the peer broke the protocol
    CLOSE_DIGEST = 4        # header digest error: the stream can't be trusted
    CLOSE_SILENT = 5        # a ping was not answered by an initiator that had answered before
    CLOSE_STUCK = 6         # took no byte for SEND_STUCK_SECONDS
    CLOSE_MEMORY = 7        # out of memory
    CLOSE_GAP = 8           # a command that another connection should have brought never came
    CLOSE_ALONE = 9         # this connection only, because the control plane said so: its session goes on

cpdef enum PduFlag:
    PDU_TAKES_STAT_SN = 1   # the PDU uses up a StatSN
    PDU_CLOSES = 2          # the session ends when it has been sent
    PDU_CLOSES_ALONE = 4    # the connection ends when it has been sent; the session with its last one

cpdef enum Purpose:
    PURPOSE_READ = 1
    PURPOSE_WRITE = 2
    PURPOSE_FLUSH = 3
    PURPOSE_SLOW = 4        # of the slow path: the control plane carries it out
    PURPOSE_PDU = 5         # not a SCSI task: a PDU that the control plane wants sent

cpdef enum StepWork:
    # what a reactor's step spends its time on
    STEP_COMMANDS = 0       # carries out PDUs and makes answers
    STEP_MESSAGES = 1       # acts on what the control plane and the pools say
    STEP_RECEIVE = 2        # receives from a socket
    STEP_SEND = 3           # sends to a socket; a page of a file that is not in memory is brought here
    STEP_WRITE = 4          # stores data in a file
    STEP_TIMERS = 5         # looks for silent and stuck connections

cdef enum:
    STEP_WORKS = 6
