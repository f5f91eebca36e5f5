"""Command blocks as the data plane reads them: the few commands it carries out itself, decoded in place.

Everything that is not decoded here, or has a bit set that asks for more than plain reading and writing, is left to
commands.py. The layouts are those of SBC-3 5.x; all fields big endian.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from goldherd.native.endian cimport get16, get32, get64

cdef enum Verb:
    VERB_OTHER = 0      # prebuilt answer or Python
    VERB_READ = 1
    VERB_WRITE = 2
    VERB_FLUSH = 3      # SYNCHRONIZE CACHE

cdef enum:
    CDB_BYTES = 16
    PROTECT_BITS = 0xE0     # RDPROTECT, WRPROTECT: byte 1 of the 10-, 12- and 16-byte forms
    FUA_BIT = 0x08
    NACA_BIT = 0x04         # CONTROL byte

cdef struct Extent:
    uint64_t lba        # first block
    uint64_t blocks     # number of blocks
    bint fua            # on stable storage before GOOD
    bint odd            # bits set that only Python judges

cdef inline int decode(const uint8_t* cdb, Extent* extent) noexcept nogil:
    """The Verb of a command block; for reads, writes and flushes the extent too."""
    cdef int verb
    cdef uint8_t opcode = cdb[0]
    cdef uint8_t control
    if opcode == 0x28 or opcode == 0x2A:            # READ(10), WRITE(10)
        extent.lba = get32(cdb + 2)
        extent.blocks = get16(cdb + 7)
        control = cdb[9]
        verb = VERB_READ if opcode == 0x28 else VERB_WRITE
    elif opcode == 0x88 or opcode == 0x8A:          # READ(16), WRITE(16)
        extent.lba = get64(cdb + 2)
        extent.blocks = get32(cdb + 10)
        control = cdb[15]
        verb = VERB_READ if opcode == 0x88 else VERB_WRITE
    elif opcode == 0xA8 or opcode == 0xAA:          # READ(12), WRITE(12)
        extent.lba = get32(cdb + 2)
        extent.blocks = get32(cdb + 6)
        control = cdb[11]
        verb = VERB_READ if opcode == 0xA8 else VERB_WRITE
    elif opcode == 0x08 or opcode == 0x0A:          # READ(6), WRITE(6)
        extent.lba = get32(cdb) & <uint32_t>0x1FFFFF
        extent.blocks = cdb[4] if cdb[4] else 256   # SBC-3 5.7: 0 means 256 in the 6-byte forms only
        extent.fua = False
        extent.odd = (cdb[1] & 0xE0) != 0 or (cdb[5] & NACA_BIT) != 0
        return VERB_READ if opcode == 0x08 else VERB_WRITE
    elif opcode == 0x35:                            # SYNCHRONIZE CACHE(10)
        extent.lba = get32(cdb + 2)
        extent.blocks = get16(cdb + 7)
        extent.fua = False
        extent.odd = (cdb[9] & NACA_BIT) != 0 or (cdb[1] & 0xF9) != 0
        return VERB_FLUSH
    elif opcode == 0x91:                            # SYNCHRONIZE CACHE(16)
        extent.lba = get64(cdb + 2)
        extent.blocks = get32(cdb + 10)
        extent.fua = False
        extent.odd = (cdb[15] & NACA_BIT) != 0 or (cdb[1] & 0xF9) != 0
        return VERB_FLUSH
    else:
        return VERB_OTHER
    extent.fua = (cdb[1] & FUA_BIT) != 0
    extent.odd = (cdb[1] & (PROTECT_BITS | 0x05)) != 0 or (control & NACA_BIT) != 0
    return verb

cdef inline uint64_t data_out_bytes(const uint8_t* cdb, uint32_t block_shift) noexcept nogil:
    """How many bytes of Data-Out a command asks for that is not decoded above; the R2Ts stop there.

    The same numbers as `data_out_bytes` of the table in commands.py; a test compares the two.
    """
    cdef uint8_t opcode = cdb[0]
    cdef uint8_t bytchk = (cdb[1] >> 1) & 3
    if opcode == 0x42 or opcode == 0x55:            # UNMAP, MODE SELECT(10)
        return get16(cdb + 7)
    if opcode == 0x15 or opcode == 0x1D:            # MODE SELECT(6), SEND DIAGNOSTIC
        return cdb[4] if opcode == 0x15 else get16(cdb + 3)
    if opcode == 0x5F:                              # PERSISTENT RESERVE OUT
        return get32(cdb + 5)
    if opcode == 0x83:                              # EXTENDED COPY and its token relatives
        return get32(cdb + 10)
    if opcode == 0xA4:                              # MAINTENANCE OUT
        return get32(cdb + 6)
    if opcode == 0x41:                              # WRITE SAME(10)
        return <uint64_t>1 << block_shift
    if opcode == 0x93:                              # WRITE SAME(16), NDOB
        return 0 if cdb[1] & 0x01 else <uint64_t>1 << block_shift
    if opcode == 0x2F or opcode == 0xAF or opcode == 0x8F:      # VERIFY
        if bytchk == 0:
            return 0
        if bytchk == 3:
            return <uint64_t>1 << block_shift
    if opcode == 0x89:                              # COMPARE AND WRITE: what is expected, and what is written
        return <uint64_t>cdb[13] << (block_shift + 1)
    if opcode == 0x9C:                              # WRITE ATOMIC(16)
        return <uint64_t>get16(cdb + 12) << block_shift
    if opcode == 0x8B or opcode == 0x8F or opcode == 0x8E or opcode == 0x8A:
        return <uint64_t>get32(cdb + 10) << block_shift
    if opcode == 0x2F or opcode == 0x2E or opcode == 0x2A:
        return <uint64_t>get16(cdb + 7) << block_shift
    if opcode == 0xAF or opcode == 0xAE or opcode == 0xAA:
        return <uint64_t>get32(cdb + 6) << block_shift
    if opcode == 0x0A:
        return <uint64_t>(cdb[4] if cdb[4] else 256) << block_shift
    if opcode == 0x48:                              # SANITIZE
        return get16(cdb + 7)
    return 0                                        # takes none, whatever the header says (RFC 7143 11.3.1)
