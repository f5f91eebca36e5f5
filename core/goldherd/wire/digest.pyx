"""CRC32C digests of headers and data (RFC 7143 13.1): the processor's instruction, or a table where it lacks one."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

cdef extern from "crc32c.h" nogil:
    void gh_crc32c_setup()
    uint32_t gh_crc32c(uint32_t crc, const void* data, size_t n)
    uint32_t gh_crc_table(uint32_t crc, const uint8_t* p, size_t n)

gh_crc32c_setup()


cdef uint32_t crc_update(uint32_t crc, const void* data, size_t length) noexcept nogil:
    return gh_crc32c(crc, data, length)


cdef void crc_store(uint32_t crc, void* place) noexcept nogil:
    crc = ~crc
    memcpy(place, &crc, 4)      # little endian hosts only; setup.py builds for nothing else


cdef bint crc_matches(uint32_t crc, const void* place) noexcept nogil:
    crc = ~crc
    return memcmp(&crc, place, 4) == 0


def crc32c(data: bytes, start: int = 0) -> int:
    """The CRC32C of data; `start` is the CRC of what came before it."""
    cdef const unsigned char[::1] view = data
    cdef uint32_t crc = ~(<uint32_t>start)
    if len(data):
        crc = gh_crc32c(crc, &view[0], len(data))
    return <uint32_t>~crc


def crc32c_by_table(data: bytes) -> int:
    """The same by the table alone, so that a test can hold both ways equal."""
    cdef const unsigned char[::1] view = data
    cdef uint32_t crc = CRC_START
    if len(data):
        crc = gh_crc_table(crc, &view[0], len(data))
    return <uint32_t>~crc
