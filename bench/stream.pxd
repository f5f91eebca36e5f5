"""What the load generator knows of a session and of a run, and the small work on both: clock, histogram, data.

Start reading at Stream. The loop over all of them stands in loadgen.pyx.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef enum:
    BUCKETS = 1024              # of the latency histogram: 16 per power of two of nanoseconds

cdef enum Trouble:
    # why a run was given up; told in words by WORDS
    FINE = 0
    CLOSED = 1
    SYSTEM = 2
    BAD_STATUS = 3
    BAD_OPCODE = 4
    BAD_TAG = 5
    BAD_DATA = 6
    BAD_LENGTH = 7
    STUCK = 8

cdef struct Task:
    bint outstanding
    uint64_t offset             # bytes from the start of the image
    uint32_t received           # bytes of Data-In so far
    uint64_t started            # ns

cdef struct Stream:
    # one session as the loop sees it
    int fd
    uint32_t index
    uint32_t cmd_sn
    uint32_t exp_stat_sn
    uint32_t max_cmd_sn
    uint32_t lun                # flat address, below 256
    uint32_t segment_max        # the target's MaxRecvDataSegmentLength
    uint32_t first_burst        # bytes of immediate data the target takes; 0: none
    uint64_t size               # bytes of the image
    uint64_t random             # state of xorshift64
    uint64_t next               # sequential: the next offset
    uint64_t issued             # commands
    Task* tasks
    uint32_t inflight
    # receiving: a header in parts, then a payload of which `payload_left` bytes (with padding) are to come
    uint8_t header[48]
    uint32_t header_have
    uint32_t skip               # bytes of AHS still to come
    uint64_t payload_place      # image offset of the next payload byte
    uint32_t payload_left
    uint32_t payload_data       # of payload_left, those before the padding
    # sending
    uint8_t* out
    size_t out_start, out_end, out_size
    bint wants_out

cdef struct Plan:
    # what one run does
    bint write
    bint sequential
    bint check_all
    uint32_t block              # bytes per command
    uint32_t depth              # commands in flight per session
    uint64_t count_max          # commands per session; 0: until the time is over
    uint64_t until              # ns

cdef struct Counts:
    uint64_t done
    uint64_t bytes_checked
    uint64_t first, last        # ns of the first command and of the last answer that was counted
    int trouble
    uint64_t detail[2]
    int system_error
    uint32_t least, most
    uint64_t latencies[BUCKETS]


cdef inline uint64_t now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec


cdef inline uint32_t bucket_of(uint64_t ns) noexcept nogil:
    """Sixteen buckets per power of two, so a figure read from it is within 6 %."""
    cdef uint32_t power = 0
    cdef uint64_t rest = ns
    if ns < 16:
        return <uint32_t>ns
    while rest >= 32:
        rest >>= 1
        power += 1
    return (power + 1) * 16 + <uint32_t>(rest - 16)


cdef inline double bucket_ns(uint32_t bucket) noexcept:
    """The middle of a bucket."""
    if bucket < 16:
        return bucket
    return (16 + bucket % 16 + 0.5) * 2.0 ** (bucket // 16 - 1)


cdef inline int fail(Counts* counts, int trouble, uint64_t a=0, uint64_t b=0) noexcept nogil:
    if counts.trouble == FINE:
        counts.trouble = trouble
        counts.detail[0] = a
        counts.detail[1] = b
    return -1


cdef inline void fill(uint8_t* target, uint64_t place, uint32_t length) noexcept nogil:
    """Writes the words that belong at `place`; both are multiples of 8."""
    cdef uint64_t word
    cdef uint32_t i
    for i in range(0, length, 8):
        word = place + i
        memcpy(target + i, &word, 8)


cdef inline int check(
    const uint8_t* data, uint64_t place, size_t length, bint all_words, Counts* counts
) noexcept nogil:
    """Compares whole words between `place` and its end: all, or the first and the last."""
    cdef uint64_t word
    cdef size_t i = (8 - place % 8) % 8
    cdef size_t last
    if length < i + 8:
        return 0
    last = i + (length - i) // 8 * 8 - 8
    while i <= last:
        memcpy(&word, data + i, 8)
        if word != place + i:
            return fail(counts, BAD_DATA, place + i, word)
        counts.bytes_checked += 8
        i = i + 8 if all_words or i == last else last
    return 0
