"""The driver of a reactor: sockets and epoll around the core.

A reactor runs on a thread of its own without the GIL (start), or is stepped by the event loop, which watches the
reactor's epoll descriptor (descriptor, step_once): the same code, one thread less.
"""

import threading

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.uio cimport iovec
from posix.unistd cimport close

from goldherd.block.pool cimport begin_step, end_step
from goldherd.native.linux cimport load8, store8
from goldherd.native.limits cimport BATCH_IOVECS, POLL_EVENTS, TICK_MILLISECONDS
from goldherd.session.codes cimport CLOSE_PEER
from goldherd.session.core cimport Core, STREAM_EMPTY, STREAM_ENDED, begin_times, end_times
from goldherd.reactor.loop cimport (
    INTEREST_BEGIN, INTEREST_END, INTEREST_NEVER, INTEREST_NOTHING, INTEREST_OUTPUT, Loop)
from goldherd.reactor.events_out cimport EventQueue
from goldherd.session.state cimport Connection

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint32_t u32
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    int MSG_NOSIGNAL, MSG_DONTWAIT

cdef enum:
    MESSAGES = 0xFFFFFFFE      # in place of a connection's index


cdef uint64_t clock_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000 + <uint64_t>now.tv_nsec / 1000000


cdef ssize_t send_to_socket(Core* core, Connection* c, iovec* iov, int count) noexcept nogil:
    cdef msghdr message
    cdef ssize_t sent
    memset(&message, 0, sizeof(message))
    message.msg_iov = iov
    message.msg_iovlen = count if count < BATCH_IOVECS else BATCH_IOVECS
    while True:
        sent = sendmsg(c.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent >= 0:
            return sent
        if errno == EINTR:
            continue
        return 0 if errno == EAGAIN else STREAM_ENDED


cdef ssize_t receive_from_socket(Core* core, Connection* c, iovec* iov, int count) noexcept nogil:
    cdef msghdr message
    cdef ssize_t got
    memset(&message, 0, sizeof(message))
    message.msg_iov = iov
    message.msg_iovlen = count
    got = recvmsg(c.fd, &message, MSG_DONTWAIT)
    if got > 0:
        return got
    if got < 0 and (errno == EAGAIN or errno == EINTR):
        return STREAM_EMPTY
    return STREAM_ENDED


@cython.no_gc_clear
cdef class Reactor(Loop):
    """One reactor: owns the sessions given to it."""

    def __cinit__(self, int number, EventQueue events not None) -> None:
        cdef epoll_event event
        self.epoll = -1
        self.core.send_some = send_to_socket
        self.core.receive_some = receive_from_socket
        self.core.now_ms = clock_ms()
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError("no epoll descriptor could be opened")
        event.events = EPOLLIN
        event.data.u64 = 0
        event.data.u32 = <uint32_t>MESSAGES
        epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.core.messages.eventfd, &event)

    def __dealloc__(self) -> None:
        if self.core.batch != NULL:
            with nogil:
                self.end_all()         # while watch() is still ours
        if self.epoll >= 0:
            close(self.epoll)

    # --- running ---

    def start(self) -> None:
        """Runs on a thread of its own until stop()."""
        store8(&self.stopping, 0)
        self.thread = threading.Thread(target=self.run, name=f"reactor-{self.number}", daemon=True)
        self.thread.start()

    def run(self) -> None:
        with nogil:
            while not load8(&self.stopping):
                self.step(TICK_MILLISECONDS)

    def stop(self) -> None:
        """Ends the thread; sessions must have been closed before, or the reactor be held: start() goes on with it then."""
        store8(&self.stopping, 1)
        self.wake()
        if self.thread is not None:
            self.thread.join()
            self.thread = None

    @property
    def descriptor(self) -> int:
        """Readable when step_once() has something to do."""
        return self.epoll

    def step_once(self) -> bool:
        """One step without waiting, for an event loop; True when there is more to do at once."""
        cdef bint more
        with nogil:
            more = self.step(0)
        return more

    cdef bint step(self, int timeout_ms) noexcept nogil:
        cdef epoll_event events[POLL_EVENTS]
        cdef Core* core = &self.core
        cdef Connection* c
        cdef int count
        cdef int i
        cdef uint64_t before = core.now_ms
        if core.running_first != NULL and not core.held:
            timeout_ms = 0
        count = epoll_wait(self.epoll, events, POLL_EVENTS, timeout_ms)
        core.now_ms = clock_ms()
        begin_times(core)
        begin_step(&core.listener)          # cached memory we see from here on stays where it is
        for i in range(count):
            if events[i].data.u32 == <uint32_t>MESSAGES:
                self.read_messages()
                continue
            c = core.connections[events[i].data.u32] if events[i].data.u32 < core.connection_room else NULL
            if c == NULL or c.closed or c.fd < 0 or core.held:
                continue
            if c.paused and events[i].events & (EPOLLHUP | EPOLLERR):
                self.end(c, CLOSE_PEER)
                continue
            self.serve(c, events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) != 0)
        self.serve_ready()
        if core.now_ms / TICK_MILLISECONDS != before / TICK_MILLISECONDS:
            self.do_due()
        end_step(&core.listener)
        end_times(core)
        return core.running_first != NULL and not core.held

    cdef void set_interest(self, Connection* c, int interest) noexcept nogil:
        cdef epoll_event event
        if interest == INTEREST_END or interest == INTEREST_NEVER:
            epoll_ctl(self.epoll, EPOLL_CTL_DEL, c.fd, NULL)    # a descriptor that another process has too needs it
            if interest == INTEREST_END:
                close(c.fd)
            return
        event.events = EPOLLOUT if interest == INTEREST_OUTPUT else 0 if interest == INTEREST_NOTHING else EPOLLIN
        event.data.u64 = 0
        event.data.u32 = c.index
        epoll_ctl(self.epoll, EPOLL_CTL_ADD if interest == INTEREST_BEGIN else EPOLL_CTL_MOD, c.fd, &event)
