"""A logical unit and an I_T_L nexus as the data plane sees them: plain structs, written by Python, read by reactors.

The structs live inside HotUnit and HotNexus; the owner of a pointer that a reactor has keeps them alive until the
reactor has reported the connection as closed.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.block.image cimport Image
from goldherd.block.pool cimport Lane, Pool
from goldherd.native.limits cimport FULL_FORGOTTEN_MS
from goldherd.native.linux cimport load32, load64, load_pointer, store64
from goldherd.scsi.fastpath.watch cimport Watches

cpdef enum NexusFlag:
    # what takes the slow path: the control plane decides
    SLOW_ALL = 1            # every command: a condition is pending (unit attention, no medium)
    SLOW_READ = 2           # reads: a reservation may forbid them
    SLOW_WRITE = 4          # writes: a reservation or write protection may forbid them
    WRITE_THROUGH = 8       # write cache off: every write as if FUA were set
    SLOW_PREBUILT = 16      # prebuilt answers: a reservation may forbid what they tell

cdef struct Answer:
    uint8_t cdb[16]             # a command block that equals this
    uint8_t mask[16]            # in these bits
    uint32_t allocation_at      # has its allocation length here
    uint32_t allocation_bytes   # in so many bytes (0: none)
    uint32_t length
    const uint8_t* bytes        # and is answered GOOD with these bytes

cdef struct Answers:
    uint32_t count
    Answer* answers

cdef struct UnitState:
    void* image             # goldherd.block.image.Image
    uint64_t block_count
    uint32_t block_shift    # log2 of the block length in bytes
    uint32_t image_flags    # IMAGE_...
    void* pool              # Pool: where its image may sleep
    Lane* lane              # the unit's jobs in that pool
    uint32_t quiesced       # > 0: writes wait until it is 0 again (exclusive commands)
    uint32_t space_waits    # writes that wait for space
    uint64_t full_ms        # since when it has no space for writes, by the clock of the reactors; 0: it has
    uint64_t lack_ms        # when a write met that last
    uint64_t retried_ms     # when a write that waited was tried again last
    Watches* watches        # NULL almost always; else to be told of every write before it is stored (watch.pxd)
    Answers* answers        # swapped whole; an older list lives until every step that may have seen it is over

cdef struct NexusState:
    UnitState* unit
    uint32_t flags          # NexusFlag
    uint32_t number         # by which Python finds its Nexus again

# Fields that another thread may change at any time; a reactor loads each once per decision.

cdef inline uint32_t flags_of(NexusState* nexus) noexcept nogil:
    return load32(&nexus.flags)

cdef inline bint is_quiesced(UnitState* unit) noexcept nogil:
    return load32(&unit.quiesced) != 0

cdef inline uint64_t full_since(UnitState* unit) noexcept nogil:
    return load64(&unit.full_ms)

cdef inline uint64_t note_lack(UnitState* unit, uint64_t now_ms) noexcept nogil:
    """A write met a lack of space: since when the disk is full. Reactors may do this at the same time: their clocks agree."""
    if load64(&unit.full_ms) == 0 or now_ms > load64(&unit.lack_ms) + FULL_FORGOTTEN_MS:
        store64(&unit.full_ms, now_ms)
    store64(&unit.lack_ms, now_ms)
    return load64(&unit.full_ms)

cdef inline void note_space(UnitState* unit) noexcept nogil:
    """A write that waited has found space; the others are asked for their data by the reactors' next tick."""
    store64(&unit.full_ms, 0)

cdef inline Answers* answers_of(UnitState* unit) noexcept nogil:
    return <Answers*>load_pointer(&unit.answers)

cdef inline Watches* watches_of(UnitState* unit) noexcept nogil:
    return <Watches*>load_pointer(&unit.watches)

cdef class HotUnit:
    cdef UnitState state
    cdef readonly Image image
    cdef Pool pool
    cdef list keep          # bytes objects that the answers point into
    cdef list watched       # Watch objects that the watches point into
    cdef object publishing  # a lock: one list of either kind is published at a time

cdef class HotNexus:
    cdef NexusState state
    cdef readonly HotUnit unit
