"""Byte order in one place: big-endian fields read and written in place, at any alignment."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint16_t gh_get16(const void *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
    static inline uint32_t gh_get32(const void *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
    static inline uint64_t gh_get64(const void *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
    static inline void gh_put16(void *p, uint16_t v) { v = __builtin_bswap16(v); memcpy(p, &v, 2); }
    static inline void gh_put32(void *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
    static inline void gh_put64(void *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
    """
    uint16_t get16 "gh_get16"(const void* place)
    uint32_t get32 "gh_get32"(const void* place)
    uint64_t get64 "gh_get64"(const void* place)
    void put16 "gh_put16"(void* place, uint16_t value)
    void put32 "gh_put32"(void* place, uint32_t value)
    void put64 "gh_put64"(void* place, uint64_t value)
