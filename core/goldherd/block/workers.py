"""Threads of the control plane for work that may sleep: opening disks, rare commands, timed flushes.

A disk that hangs keeps the threads that wait for it. When work has waited for longer than a quick disk's answer, all
threads are held up, and one more is started: so a disk that hangs delays its own work only, however many of them hang.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from goldherd.limits import CONTROL_IDLE_SECONDS, CONTROL_PATIENCE_SECONDS, CONTROL_THREADS, CONTROL_THREADS_MAX

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Work = tuple[float, Future[Any], Callable[[], Any]]
"""When the work came, its outcome, and what is called."""


class Workers(Executor):
    """An executor whose threads grow in number while they are held up.

    The threads are daemons: one that waits for a disk that never answers does not keep the process alive. How much work
    waits is bounded by those that ask: a flush for each open disk, SESSION_THREADS_MAX commands for each session.

    Args:
        threads: how many there are without a disk that hangs; each is started when it is needed first.
        threads_max: how many there may be.
    """

    def __init__(self, threads: int = CONTROL_THREADS, threads_max: int = CONTROL_THREADS_MAX) -> None:
        self._threads_min, self._threads_max = threads, threads_max
        self._waiting: deque[_Work] = deque()
        lock = threading.Lock()
        self._work, self._backlog = threading.Condition(lock), threading.Condition(lock)
        self._threads = self._idle = 0
        self._keeper: threading.Thread | None = None
        self._closed = False

    @property
    def thread_count(self) -> int:
        """How many threads there are now."""
        return self._threads

    def submit(self, work: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """Has `work` called on a thread.

        Raises:
            RuntimeError: after shutdown().
        """
        future: Future[_R] = Future()
        with self._work:
            if self._closed:
                raise RuntimeError("the workers have been shut down")
            self._waiting.append((time.monotonic(), future, lambda: work(*args, **kwargs)))
            if self._idle >= len(self._waiting):  # those that were called and have not woken up yet count as idle
                self._work.notify()
            elif self._threads < self._threads_min:
                self._start()
            elif self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="control-keeper", daemon=True)
                self._keeper.start()
            else:
                self._backlog.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more work. Work that waits is still done, or cancelled.

        Args:
            wait: whether to return only when the last work is done.
            cancel_futures: whether work that no thread has begun is left.
        """
        with self._work:
            self._closed = True
            while cancel_futures and self._waiting:
                self._waiting.popleft()[1].cancel()
            self._work.notify_all()
            self._backlog.notify_all()
            while wait and self._threads:
                self._work.wait()

    def _start(self) -> None:
        """One more thread, if the system has one; else the work waits for a thread that comes free."""
        self._threads += 1
        try:
            threading.Thread(target=self._run, name="control", daemon=True).start()
        except RuntimeError:  # CPython's word for "can't start new thread"
            self._threads -= 1
            if not self._threads:
                raise

    def _run(self) -> None:
        """A thread: takes the work that has waited longest, until it is not needed any more."""
        while (taken := self._take()) is not None:
            future, work = taken
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as failure:  # as ThreadPoolExecutor does: it belongs to the one who asked
                    future.set_exception(failure)
            del taken, future, work  # a thread without work holds on to nothing

    def _take(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._work:
            while not self._waiting:
                if self._closed or (not self._await_work(CONTROL_IDLE_SECONDS) and self._threads > self._threads_min):
                    self._threads -= 1
                    self._work.notify_all()  # shutdown() may be waiting for the last thread
                    return None
            _, future, work = self._waiting.popleft()
            return future, work

    def _await_work(self, seconds: float) -> bool:
        self._idle += 1
        try:
            return self._work.wait(seconds)
        finally:
            self._idle -= 1

    def _keep(self) -> None:
        """The keeper: starts a thread for work that has waited too long."""
        with self._backlog:
            while not self._closed:
                if not self._waiting:
                    self._backlog.wait()
                    continue
                patience = self._waiting[0][0] + CONTROL_PATIENCE_SECONDS - time.monotonic()
                if patience > 0:
                    self._backlog.wait(patience)
                    continue
                for _ in range(min(len(self._waiting) - self._idle, self._threads_max - self._threads)):
                    self._start()
                self._backlog.wait(CONTROL_PATIENCE_SECONDS)  # for these to take their work
