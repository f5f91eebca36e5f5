"""Letters across the border between threads; see mailbox.pxd for the rules."""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset
from posix.unistd cimport close, read, write

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initval, int flags)
    int EFD_NONBLOCK
    int EFD_CLOEXEC

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_destroy(pthread_mutex_t*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)


cdef int open_box(Mailbox* box) except -1:
    box.first = box.last = NULL
    box.mutex = calloc(1, sizeof(pthread_mutex_t))
    if box.mutex == NULL:
        raise MemoryError
    pthread_mutex_init(<pthread_mutex_t*>box.mutex, NULL)
    box.eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if box.eventfd < 0:
        raise OSError("no eventfd could be opened")
    return 0


cdef void close_box(Mailbox* box) noexcept nogil:
    cdef Letter* letter = box.first
    cdef Letter* following
    while letter != NULL:
        following = letter.next
        if letter.kind != LETTER_JOB:
            free(letter)
        letter = following
    box.first = box.last = NULL
    if box.eventfd >= 0:
        close(box.eventfd)
        box.eventfd = -1
    if box.mutex != NULL:
        pthread_mutex_destroy(<pthread_mutex_t*>box.mutex)
        free(box.mutex)
        box.mutex = NULL


cdef Letter* make_letter(int kind, uint32_t payload_bytes) noexcept nogil:
    cdef Letter* letter = <Letter*>malloc(sizeof(Letter) + payload_bytes)
    if letter != NULL:
        memset(letter, 0, sizeof(Letter))
        letter.kind = kind
        letter.bytes = payload_bytes
    return letter


cdef void post(Mailbox* box, Letter* letter) noexcept nogil:
    cdef uint64_t one = 1
    cdef bint was_empty
    letter.next = NULL
    pthread_mutex_lock(<pthread_mutex_t*>box.mutex)
    was_empty = box.first == NULL
    if was_empty:
        box.first = letter
    else:
        box.last.next = letter
    box.last = letter
    pthread_mutex_unlock(<pthread_mutex_t*>box.mutex)
    if was_empty:
        write(box.eventfd, &one, 8)


cdef Letter* collect(Mailbox* box) noexcept nogil:
    cdef uint64_t rung
    cdef Letter* first
    read(box.eventfd, &rung, 8)
    pthread_mutex_lock(<pthread_mutex_t*>box.mutex)
    first = box.first
    box.first = box.last = NULL
    pthread_mutex_unlock(<pthread_mutex_t*>box.mutex)
    return first
