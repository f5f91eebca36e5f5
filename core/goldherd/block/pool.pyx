"""The small thread pools for work that may sleep, and the listeners that learn that cold data has come.

Two pools per process: one for disks, one for backends written in Python, so that a slow plugin delays plugins
only. Threads are plain pthreads; they take the GIL only inside an image's Python door. They live as long as the
process: a job is never abandoned.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport write

from goldherd import limits

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_attr_t:
        pass
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_cond_init(pthread_cond_t*, void*)
    int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*)
    int pthread_cond_signal(pthread_cond_t*)
    int pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*) noexcept nogil, void*)
    int pthread_detach(pthread_t)

cdef extern from * nogil:
    int load_int "__atomic_load_n"(int*, int)
    uint64_t load_epoch "__atomic_load_n"(uint64_t*, int)
    uint64_t add_epoch "__atomic_add_fetch"(uint64_t*, uint64_t, int)
    void store_epoch "__atomic_store_n"(uint64_t*, uint64_t, int)
    void fence "__atomic_thread_fence"(int)
    int __ATOMIC_SEQ_CST, __ATOMIC_RELEASE

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int)

cdef struct Queue:
    pthread_mutex_t mutex
    pthread_cond_t condition
    Job* head
    Job* tail


cdef void* work(void* argument) noexcept nogil:
    cdef Queue* queue = <Queue*>argument
    cdef Job* job
    while True:
        pthread_mutex_lock(&queue.mutex)
        while queue.head == NULL:
            pthread_cond_wait(&queue.condition, &queue.mutex)
        job = queue.head
        queue.head = job.next
        if queue.head == NULL:
            queue.tail = NULL
        pthread_mutex_unlock(&queue.mutex)
        job.run(job)
    return NULL


cdef class Pool:
    """A fixed number of threads over one queue; first come, first served."""

    def __cinit__(self, str name, int thread_count) -> None:
        cdef pthread_t thread
        cdef int i
        cdef Queue* queue = <Queue*>calloc(1, sizeof(Queue))
        if queue == NULL:
            raise MemoryError
        pthread_mutex_init(&queue.mutex, NULL)
        pthread_cond_init(&queue.condition, NULL)
        self.queue = queue      # never freed: detached threads wait on it until the process ends
        self.name = name
        self.thread_count = thread_count
        for i in range(thread_count):
            if pthread_create(&thread, NULL, work, queue):
                raise MemoryError(f"could not start thread {i} of the pool {name}")
            pthread_detach(thread)

    cdef void submit(self, Job* job) noexcept nogil:
        cdef Queue* queue = <Queue*>self.queue
        job.next = NULL
        pthread_mutex_lock(&queue.mutex)
        if queue.tail == NULL:
            queue.head = job
        else:
            queue.tail.next = job
        queue.tail = job
        pthread_cond_signal(&queue.condition)
        pthread_mutex_unlock(&queue.mutex)


cdef Pool _storage = None
cdef Pool _python = None


cdef Pool storage_pool():
    global _storage
    if _storage is None:
        _storage = Pool("storage", limits.STORAGE_THREADS)
    return _storage


cdef Pool python_pool():
    global _python
    if _python is None:
        _python = Pool("python", limits.PYTHON_THREADS)
    return _python


# --- listeners ---

cdef pthread_mutex_t listeners_mutex
cdef Listener* listeners = NULL
pthread_mutex_init(&listeners_mutex, NULL)


cdef void listen(Listener* listener) noexcept nogil:
    global listeners
    pthread_mutex_lock(&listeners_mutex)
    listener.next = listeners
    listeners = listener
    pthread_mutex_unlock(&listeners_mutex)


cdef void unlisten(Listener* listener) noexcept nogil:
    global listeners
    cdef Listener** place
    pthread_mutex_lock(&listeners_mutex)
    place = &listeners
    while place[0] != NULL:
        if place[0] == listener:
            place[0] = listener.next
            break
        place = &place[0].next
    pthread_mutex_unlock(&listeners_mutex)


cdef void notify() noexcept nogil:
    cdef uint64_t one = 1
    cdef Listener* listener
    pthread_mutex_lock(&listeners_mutex)
    listener = listeners
    while listener != NULL:
        if load_int(&listener.waiting, __ATOMIC_SEQ_CST) > 0:
            write(listener.eventfd, &one, 8)
        listener = listener.next
    pthread_mutex_unlock(&listeners_mutex)


# --- grace periods ---

cdef uint64_t epoch = 1


cdef void begin_step(Listener* listener) noexcept nogil:
    store_epoch(&listener.epoch, load_epoch(&epoch, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST)
    fence(__ATOMIC_SEQ_CST)     # a thread that doesn't see this epoch has unpublished before anything below is read


cdef void end_step(Listener* listener) noexcept nogil:
    store_epoch(&listener.epoch, 0, __ATOMIC_RELEASE)


cdef uint64_t next_epoch() noexcept nogil:
    return add_epoch(&epoch, 1, __ATOMIC_SEQ_CST)


cdef bint epoch_over(uint64_t target) noexcept nogil:
    cdef Listener* listener
    cdef uint64_t seen
    cdef bint over = True
    pthread_mutex_lock(&listeners_mutex)
    listener = listeners
    while listener != NULL and over:
        seen = load_epoch(&listener.epoch, __ATOMIC_SEQ_CST)
        over = seen == 0 or seen >= target
        listener = listener.next
    pthread_mutex_unlock(&listeners_mutex)
    return over


cdef void wait_for_epoch(uint64_t target) noexcept nogil:
    while not epoch_over(target):
        usleep(50)
