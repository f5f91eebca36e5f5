"""The phases of a task: what happens next with it. phases.pyx has the table of which may follow which."""

cpdef enum Phase:
    # 1 to 6 wait for the step of another component, 7 to 11 stand in the send queue
    PHASE_FREE = 0          # in no session; of a task just made: not placed yet
    PHASE_DATA_OUT = 1      # for Data-Out PDUs of the initiator
    PHASE_BUFFER = 2        # for a write buffer
    PHASE_SUSPENDED = 3     # for cold data, or for a unit that is quiesced
    PHASE_POOL = 4          # a job runs on another thread; its memory is in use until the job is done
    PHASE_CONTROL = 5       # for the control plane's reply
    PHASE_SPACE = 6          # for space on a disk that is full; it has no buffer
    PHASE_READ = 7          # send data from the image
    PHASE_REPLY = 8         # send `buffer`, then status and sense
    PHASE_R2T = 9           # send an R2T for the missing part of the chunk
    PHASE_WRITE = 10        # store the chunk
    PHASE_PDU = 11          # send `buffer` as it is

cdef extern from * nogil:
    """
    #if defined(__has_feature)
    #if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    #define GH_CHECKS_PHASES 1
    #endif
    #endif
    #if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    #define GH_CHECKS_PHASES 1
    #endif
    #ifndef GH_CHECKS_PHASES
    #define GH_CHECKS_PHASES 0
    #endif
    """
    const bint CHECKS_PHASES "GH_CHECKS_PHASES"     # a constant: what depends on it is not compiled in other builds

# Ends the process when the table does not have it.
cdef void check_phase(int before, int after) noexcept nogil
