"""Letters across the border between threads: a list under a mutex and an eventfd that is rung once per batch.

A letter names sessions, connections and tasks by token, link and tag, never by pointer: what it speaks of may be gone
when it is read. The eventfd is written only when the box was empty, and read before the list is taken.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.block.pool cimport Job

cdef enum LetterKind:
    # to a reactor
    LETTER_ATTACH = 1       # take over a connection: payload is an Attachment
    LETTER_REPLY = 2        # the outcome of a command: payload is sense, then data
    LETTER_PDU = 3          # send this PDU: payload is header and data
    LETTER_CLOSE = 4        # close the connection
    LETTER_ABORT = 5        # end tasks, then acknowledge
    LETTER_FENCE = 6        # acknowledge when no job runs on a unit
    LETTER_WAKE = 7         # look at parked tasks again
    LETTER_JOB = 8          # a job has ended: `place` is the Job, memory of the reactor
    LETTER_PROCEED = 9      # nothing stands in the way of a read: serve it
    LETTER_CLOSE_ALONE = 10 # close one connection; its session goes on
    LETTER_EXPECT = 11      # a connection is about to join a session: say where its numbering stands
    # to the control plane
    LETTER_COMMAND = 20     # carry this command out: payload is its Data-Out
    LETTER_REQUEST = 21     # a PDU for the control plane: payload is header and data
    LETTER_FAILED = 22      # a task's I/O failed with this errno; reply with status and sense
    LETTER_CLOSED = 23      # the connection is gone and nothing of it is in use
    LETTER_DONE = 24        # an abort or a fence is complete
    LETTER_NUMBERED = 25    # where the numbering stands: `number` ExpCmdSN, `value` MaxCmdSN; `tag` 0: no such session

cdef struct Letter:
    Letter* next
    int kind
    uint32_t link           # the connection of the session
    uint32_t tag            # task
    uint32_t itt
    uint32_t number         # nexus, or flags of a PDU
    uint32_t value          # expected length, errno, reason, number of tasks
    uint32_t status         # SCSI status; purpose of a failed task
    uint64_t token          # session or fence
    uint32_t cmd_sn         # LETTER_ABORT: the request's own, if `numbered`
    uint8_t numbered
    uint8_t last            # LETTER_CLOSED: the session has ended
    uint64_t serial         # of the newest task that counts
    void* place             # LETTER_JOB: the job; LETTER_FENCE, LETTER_ABORT: the unit or NULL
    uint8_t lun[8]
    uint8_t cdb[16]
    uint32_t sense_bytes
    uint32_t bytes
    uint64_t aligned[0]     # the payload may be a struct with pointers
    uint8_t payload[0]

cdef struct Mailbox:
    int eventfd
    Letter* first
    Letter* last
    void* mutex

cdef int open_box(Mailbox* box) except -1
cdef void close_box(Mailbox* box) noexcept nogil    # frees the letters that nobody will read
cdef void post(Mailbox* box, Letter* letter) noexcept nogil     # the box owns the letter now
cdef Letter* collect(Mailbox* box) noexcept nogil   # all letters in order, owned by the caller; NULL when empty
cdef Letter* make_letter(int kind, uint32_t payload_bytes) noexcept nogil   # zeroed head; NULL when out of memory
