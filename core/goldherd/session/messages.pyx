"""Messages across the border between threads; see messages.pxd for the rules."""

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


cdef int open_queue(MessageQueue* queue) except -1:
    queue.first = queue.last = NULL
    queue.mutex = calloc(1, sizeof(pthread_mutex_t))
    if queue.mutex == NULL:
        raise MemoryError
    pthread_mutex_init(<pthread_mutex_t*>queue.mutex, NULL)
    queue.eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if queue.eventfd < 0:
        raise OSError("no eventfd could be opened")
    return 0


cdef void close_queue(MessageQueue* queue) noexcept nogil:
    cdef Message* message = queue.first
    cdef Message* following
    while message != NULL:
        following = message.next
        if message.kind != MESSAGE_JOB:
            free_message(message)
        message = following
    queue.first = queue.last = NULL
    if queue.eventfd >= 0:
        close(queue.eventfd)
        queue.eventfd = -1
    if queue.mutex != NULL:
        pthread_mutex_destroy(<pthread_mutex_t*>queue.mutex)
        free(queue.mutex)
        queue.mutex = NULL


cdef Message* make_message(int kind, size_t struct_bytes, size_t content_bytes) noexcept nogil:
    cdef Message* message = <Message*>malloc(struct_bytes + content_bytes)
    if message != NULL:
        memset(message, 0, struct_bytes)
        message.kind = kind
    return message


cdef void free_message(Message* message) noexcept nogil:
    if message.kind == MESSAGE_COMMAND:
        free((<CommandMessage*>message).taken)
    free(message)


cdef void post(MessageQueue* queue, Message* message) noexcept nogil:
    cdef uint64_t one = 1
    cdef bint was_empty
    message.next = NULL
    pthread_mutex_lock(<pthread_mutex_t*>queue.mutex)
    was_empty = queue.first == NULL
    if was_empty:
        queue.first = message
    else:
        queue.last.next = message
    queue.last = message
    pthread_mutex_unlock(<pthread_mutex_t*>queue.mutex)
    if was_empty:
        write(queue.eventfd, &one, 8)


cdef Message* collect(MessageQueue* queue) noexcept nogil:
    cdef uint64_t written
    cdef Message* first
    read(queue.eventfd, &written, 8)
    pthread_mutex_lock(<pthread_mutex_t*>queue.mutex)
    first = queue.first
    queue.first = queue.last = NULL
    pthread_mutex_unlock(<pthread_mutex_t*>queue.mutex)
    return first
