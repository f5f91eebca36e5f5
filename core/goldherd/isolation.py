"""Runs the code of a stranger's plugin where it can delay or end nothing else.

Plain functions run on threads of their plugin, coroutines on an event loop of their plugin, both with a time limit. A
thread can't be ended, so each plugin has a few, and its calls are refused while all of them are stuck. The threads are
daemonic: the process ends without them. Notifications have a thread of their own and are delivered in order.

Knows no hook. Everything that a plugin raises, SystemExit included, is charged to the plugin (faults.py), but for the
errors of goldherd itself.
"""

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from goldherd import limits
from goldherd.errors import GoldherdError, PluginError
from goldherd.faults import Faults

Take = Callable[[Any], Any]
"""Reads and checks an answer of a plugin: runs where the plugin runs, because reading may run its code."""


class DaemonThreads:
    """A few threads that are started when needed and end with the process, whatever they do then."""

    def __init__(self, name: str, threads_max: int, jobs_max: int) -> None:
        self._name, self._threads_max, self._jobs_max = name, threads_max, jobs_max
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads = self._idle = self._under_way = 0

    def submit(self, job: Callable[[], None]) -> bool:
        """Has a job done, which raises nothing; False when too many wait already."""
        with self._changed:
            if len(self._jobs) >= self._jobs_max:
                return False
            self._jobs.append(job)
            self._under_way += 1
            if self._idle < len(self._jobs) and self._threads < self._threads_max:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._changed.notify()
        return True

    def settle(self, seconds: float) -> bool:
        """Waits until all jobs are done, so long at most; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way == 0, seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: bool(self._jobs))
                self._idle -= 1
                job = self._jobs.popleft()
            job()
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()


class Isolated:
    """The threads and the event loop of one plugin.

    Args:
        name: the plugin's.
        faults: counts what the plugin does wrong.
    """

    def __init__(self, name: str, faults: Faults) -> None:
        self._name = name
        self._faults = faults
        self._threads = DaemonThreads(f"plugin {name}", limits.HOOK_THREADS, limits.HOOK_CALLS_WAITING_MAX)
        self._notices = DaemonThreads(f"told {name}", 1, limits.NOTIFICATIONS_WAITING_MAX)
        self._starting = threading.Lock()
        self._own_loop: asyncio.AbstractEventLoop | None = None

    async def call(self, hook: str, function: Callable[..., Any], arguments: tuple[object, ...], take: Take) -> Any:
        """What `take` makes of the answer of a function or coroutine function; PluginError when it fails or is late."""
        seconds = limits.HOOK_SECONDS
        late = threading.Event()
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(self._start(hook, function, arguments, take, late))
        except TimeoutError:
            late.set()
            raise self._charge(hook, PluginError(f"no answer within {seconds:g} s")) from None

    def notify(self, hook: str, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        """Calls a function some time soon, after the earlier notifications of the plugin."""

        def tell() -> None:
            try:
                answer = function(*arguments)
                if inspect.isawaitable(answer):
                    asyncio.run_coroutine_threadsafe(_awaited(answer), self._loop()).result(limits.HOOK_SECONDS)
            except BaseException as failure:
                self._charge(hook, _surprise(failure))

        if not self._notices.submit(tell):
            self._charge(hook, PluginError("it is too slow: the notification is dropped"))

    def settle(self, seconds: float) -> None:
        """Waits for its notifications, so long at most."""
        if not self._notices.settle(seconds):
            self._charge("a notification", PluginError("it does not return"))

    def _charge(self, hook: str, failure: BaseException) -> GoldherdError:
        return self._faults.charge(self._name, hook, failure)

    def _start(
        self, hook: str, function: Callable[..., Any], arguments: tuple[object, ...], take: Take, late: threading.Event
    ) -> "Future[Any]":
        async def await_it(answer: Awaitable[Any]) -> Any:
            try:
                return take(await answer)
            except (Exception, SystemExit) as failure:
                raise self._charge(hook, failure) from failure

        if inspect.iscoroutinefunction(function):
            return asyncio.run_coroutine_threadsafe(await_it(function(*arguments)), self._loop())
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                answer = function(*arguments)
                if inspect.isawaitable(answer):
                    started = asyncio.run_coroutine_threadsafe(await_it(answer), self._loop())
                    future.set_result(started.result(limits.HOOK_SECONDS))
                else:
                    future.set_result(take(answer))
            except BaseException as failure:
                # A call that is late is charged already: once is enough.
                future.set_exception(failure if late.is_set() else self._charge(hook, failure))

        if not self._threads.submit(work):
            raise self._charge(hook, PluginError("it hangs in earlier calls"))
        return future

    def _loop(self) -> asyncio.AbstractEventLoop:
        """The plugin's event loop: what blocks it delays no other plugin."""
        with self._starting:
            if self._own_loop is None:
                self._own_loop = asyncio.new_event_loop()
                threading.Thread(target=self._own_loop.run_forever, name=f"loop of {self._name}", daemon=True).start()
            return self._own_loop


def _surprise(failure: BaseException) -> BaseException:
    """What a notification raised: no error of goldherd is expected there, so each is the plugin's fault."""
    return PluginError(f"{type(failure).__name__}: {failure}") if isinstance(failure, GoldherdError) else failure


async def _awaited(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except SystemExit as failure:  # it would end the loop
        raise RuntimeError(f"SystemExit: {failure}") from failure
