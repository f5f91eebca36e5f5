"""Memory that may not be touched for now, told to AddressSanitizer.

It knows where an allocation ends, not where a part of one does. Where one allocation holds the bytes of one receive,
or a pool hands out parts and takes them back, the owner poisons what is not in use and unpoisons it before it is;
an access in between is reported like one over the end. In any other build both are nothing, and
their arguments are not even computed.
"""

cdef extern from * nogil:
    """
    #include <stddef.h>
    #if defined(__has_feature)
    #if __has_feature(address_sanitizer)
    #define GH_ADDRESS_SANITIZER
    #endif
    #elif defined(__SANITIZE_ADDRESS__)
    #define GH_ADDRESS_SANITIZER
    #endif
    #ifdef GH_ADDRESS_SANITIZER
    void __asan_poison_memory_region(void const volatile *start, size_t bytes);
    void __asan_unpoison_memory_region(void const volatile *start, size_t bytes);
    #define gh_poison(start, bytes) __asan_poison_memory_region(start, bytes)
    #define gh_unpoison(start, bytes) __asan_unpoison_memory_region(start, bytes)
    #else
    #define gh_poison(start, bytes) ((void) 0)
    #define gh_unpoison(start, bytes) ((void) 0)
    #endif
    """
    void poison "gh_poison"(const void* start, size_t bytes)
    void unpoison "gh_unpoison"(const void* start, size_t bytes)
