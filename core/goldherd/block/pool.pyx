"""Threads for work that may sleep, given out so that one disk that hangs takes its own threads and nothing else.

Two pools per process: one for disks, one for backends written in Python, so that a slow plugin delays plugins only. The
jobs of one disk form a lane, and a lane has a few jobs under way at most. A pool has a few threads that stay. While a lane
waits for longer than POOL_PATIENCE_MS, though it has room, all of them are held up: the pool's keeper then starts a thread
for every lane that waits. Threads that have had nothing to do for a while end, down to those that stay.

Threads are plain pthreads; they take the GIL only inside an image's Python door. A job is never abandoned: a thread
whose disk never answers stays with it.
"""

from libc.errno cimport ETIMEDOUT
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport write

from goldherd import limits
from goldherd.native.limits cimport LANE_JOBS_MAX, POOL_IDLE_SECONDS, POOL_PATIENCE_MS
from goldherd.native.linux cimport (
    pthread_cond_init, pthread_cond_t, pthread_cond_wait, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t,
    pthread_mutex_unlock)

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_attr_t:
        pass
    int pthread_cond_signal(pthread_cond_t*)
    int pthread_cond_timedwait(pthread_cond_t*, pthread_mutex_t*, const timespec*)
    int pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*) noexcept nogil, void*)
    int pthread_detach(pthread_t)

cdef extern from * nogil:
    int load_int "__atomic_load_n"(int*, int)
    uint32_t add_uint "__atomic_add_fetch"(uint32_t*, uint32_t, int)
    uint64_t load_epoch "__atomic_load_n"(uint64_t*, int)
    uint64_t add_epoch "__atomic_add_fetch"(uint64_t*, uint64_t, int)
    void store_epoch "__atomic_store_n"(uint64_t*, uint64_t, int)
    void fence "__atomic_thread_fence"(int)
    int __ATOMIC_SEQ_CST, __ATOMIC_RELEASE

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int)

cdef struct Queue:
    pthread_mutex_t mutex
    pthread_cond_t work         # a thread was called
    pthread_cond_t backlog      # a lane waits, and no thread is free
    Lane* first                 # lanes with a job that may begin, the longest waiting first
    Lane* last
    int lanes                   # how many
    int threads                 # all of them
    int threads_min             # those that stay
    int threads_max
    int idle                    # threads that wait and were not called
    int called                  # threads that were called and have not woken up yet
    bint keeper_waits


# --- the queue; every function but the two mains is called under its mutex ---

cdef uint64_t now_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000 + <uint64_t>now.tv_nsec // 1000000


cdef bint may_begin(Lane* lane) noexcept nogil:
    """Whether the lane's next job may: the lane has room, and no write under way changes the same bytes."""
    cdef int i
    if lane.first == NULL or lane.running >= LANE_JOBS_MAX:
        return False
    for i in range(LANE_JOBS_MAX):
        if lane.first.begin < lane.ends[i] and lane.begins[i] < lane.first.end:
            return False
    return True


cdef void offer(Queue* queue, Lane* lane) noexcept nogil:
    """Puts the lane in the queue if it has a job that may begin, and calls a thread that is free."""
    if lane.queued or not may_begin(lane):
        return
    lane.queued = True
    lane.next = NULL
    lane.since_ms = now_ms()
    if queue.last != NULL:
        queue.last.next = lane
    else:
        queue.first = lane
    queue.last = lane
    queue.lanes += 1
    if queue.idle:
        queue.idle -= 1
        queue.called += 1
        pthread_cond_signal(&queue.work)
    elif queue.keeper_waits:
        queue.keeper_waits = False
        pthread_cond_signal(&queue.backlog)


cdef Job* take(Queue* queue, Lane** taken, int* place) noexcept nogil:
    """The next job of the lane that has waited longest; the lane goes to the end if it has another one.

    `place` is the write's among those under way, -1 for another job: the job itself may be gone when it has run.
    """
    cdef Lane* lane = queue.first
    cdef Job* job = lane.first
    cdef int i
    place[0] = -1
    queue.first = lane.next
    if queue.first == NULL:
        queue.last = NULL
    queue.lanes -= 1
    lane.queued = False
    lane.first = job.next
    if lane.first == NULL:
        lane.last = NULL
    lane.running += 1
    if job.end:
        for i in range(LANE_JOBS_MAX):
            if lane.ends[i] == 0:
                place[0] = i
                lane.begins[i], lane.ends[i] = job.begin, job.end
                break
    offer(queue, lane)
    taken[0] = lane
    return job


cdef void finish(Queue* queue, Lane* lane, int place) noexcept nogil:
    """A job of the lane has ended."""
    lane.running -= 1
    if place >= 0:
        lane.ends[place] = 0
        add_uint(&lane.writes, <uint32_t>-1, __ATOMIC_SEQ_CST)
    offer(queue, lane)
    if lane.closed and lane.running == 0 and lane.first == NULL:
        free(lane)


cdef bint wait_for_call(Queue* queue) noexcept nogil:
    """Waits until the thread is called; False: it is not needed any more."""
    cdef timespec until
    cdef int result
    queue.idle += 1
    while queue.called == 0:
        clock_gettime(CLOCK_REALTIME, &until)
        until.tv_sec += POOL_IDLE_SECONDS
        result = pthread_cond_timedwait(&queue.work, &queue.mutex, &until)
        if result == ETIMEDOUT and queue.called == 0 and queue.threads > queue.threads_min:
            queue.idle -= 1
            queue.threads -= 1
            return False
    queue.called -= 1
    return True


cdef void* work(void* argument) noexcept nogil:
    """A thread of the pool."""
    cdef Queue* queue = <Queue*>argument
    cdef Lane* lane
    cdef Job* job
    cdef int place
    pthread_mutex_lock(&queue.mutex)
    while True:
        if queue.first == NULL:
            if not wait_for_call(queue):
                break
            continue
        job = take(queue, &lane, &place)
        pthread_mutex_unlock(&queue.mutex)
        job.run(job)
        pthread_mutex_lock(&queue.mutex)
        finish(queue, lane, place)
    pthread_mutex_unlock(&queue.mutex)
    return NULL


cdef int start_thread(Queue* queue, void* (*run)(void*) noexcept nogil) noexcept nogil:
    cdef pthread_t thread
    cdef int result = pthread_create(&thread, NULL, run, queue)
    if result == 0:
        pthread_detach(thread)
    return result


cdef void* keep(void* argument) noexcept nogil:
    """The keeper: starts threads when all of them are held up, however long their disks hang."""
    cdef Queue* queue = <Queue*>argument
    cdef int wanted
    pthread_mutex_lock(&queue.mutex)
    while True:
        while queue.first == NULL:
            queue.keeper_waits = True
            pthread_cond_wait(&queue.backlog, &queue.mutex)
        pthread_mutex_unlock(&queue.mutex)
        usleep(POOL_PATIENCE_MS * 1000)
        pthread_mutex_lock(&queue.mutex)
        if queue.first == NULL or now_ms() - queue.first.since_ms < POOL_PATIENCE_MS:
            continue
        wanted = queue.lanes - queue.called
        while wanted > 0 and queue.threads < queue.threads_max:
            # Without memory for one more the lanes wait for a thread that comes free.
            if start_thread(queue, work):
                break
            queue.threads += 1
            wanted -= 1
    return NULL


cdef class Pool:
    """Threads over the jobs of many disks.

    Args:
        name: for people.
        thread_count: threads that stay.
        thread_count_max: how many there may be while disks hang.
    """

    def __cinit__(self, str name, int thread_count, int thread_count_max = 0) -> None:
        cdef int i
        cdef Queue* queue = <Queue*>calloc(1, sizeof(Queue))
        if queue == NULL:
            raise MemoryError
        pthread_mutex_init(&queue.mutex, NULL)
        pthread_cond_init(&queue.work, NULL)
        pthread_cond_init(&queue.backlog, NULL)
        queue.threads_min = thread_count
        queue.threads_max = max(thread_count, thread_count_max)
        self.queue = queue      # never freed: detached threads wait on it until the process ends
        self.name = name
        for i in range(thread_count):
            if start_thread(queue, work):
                raise MemoryError(f"could not start thread {i} of the pool {name}")
            queue.threads += 1
        if queue.threads_max > thread_count and start_thread(queue, keep):
            raise MemoryError(f"could not start the keeper of the pool {name}")

    @property
    def thread_count(self) -> int:
        """How many threads there are now."""
        cdef Queue* queue = <Queue*>self.queue
        cdef int count
        with nogil:
            pthread_mutex_lock(&queue.mutex)
            count = queue.threads
            pthread_mutex_unlock(&queue.mutex)
        return count

    cdef Lane* open_lane(self) noexcept nogil:
        cdef Lane* lane = <Lane*>calloc(1, sizeof(Lane))
        if lane != NULL:
            lane.queue = self.queue
        return lane

    cdef void submit(self, Lane* lane, Job* job) noexcept nogil:
        cdef Queue* queue = <Queue*>lane.queue
        job.next = NULL
        if job.end:
            add_uint(&lane.writes, 1, __ATOMIC_SEQ_CST)
        pthread_mutex_lock(&queue.mutex)
        if lane.last == NULL:
            lane.first = job
        else:
            lane.last.next = job
        lane.last = job
        offer(queue, lane)
        pthread_mutex_unlock(&queue.mutex)


cdef void close_lane(Lane* lane) noexcept nogil:
    cdef Queue* queue
    cdef bint over
    if lane == NULL:
        return
    queue = <Queue*>lane.queue
    pthread_mutex_lock(&queue.mutex)
    lane.closed = True
    over = lane.running == 0 and lane.first == NULL
    pthread_mutex_unlock(&queue.mutex)
    if over:
        free(lane)


cdef Pool _storage = None
cdef Pool _python = None


cdef Pool storage_pool():
    global _storage
    if _storage is None:
        _storage = Pool("storage", limits.STORAGE_THREADS, limits.STORAGE_THREADS_MAX)
    return _storage


cdef Pool python_pool():
    global _python
    if _python is None:
        _python = Pool("python", limits.PYTHON_THREADS, limits.PYTHON_THREADS_MAX)
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
