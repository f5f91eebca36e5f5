"""CRC32C digests (RFC 7143 13.1), as compiled code uses them."""

from libc.stdint cimport uint32_t

cdef enum:
    CRC_START = 0xFFFFFFFF

# Goes on with a running sum; start with CRC_START.
cdef uint32_t crc_update(uint32_t crc, const void* data, size_t length) noexcept nogil
# The four bytes for the wire, least significant first, of a running sum that is complete.
cdef void crc_store(uint32_t crc, void* place) noexcept nogil
# Whether the four bytes at place are the digest of that sum.
cdef bint crc_matches(uint32_t crc, const void* place) noexcept nogil
