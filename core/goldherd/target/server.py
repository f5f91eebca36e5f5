"""A server: portals, sessions, targets and reactors, held together.

The way of a connection: login/portals.py accepts it; login/logins.py leads its login; login/admission.py opens the
target's disks, makes the session and gives the socket to a reactor; commands/ answers what the reactor hands back; when
the connection ends, `_take_apart` takes the session apart.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from goldherd import limits
from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image
from goldherd.block.workers import Workers
from goldherd.errors import GoldherdError
from goldherd.hooks import Hooks
from goldherd.model.nodes import Quota
from goldherd.model.portals import Portal
from goldherd.model.targets import Directory, TargetConfig
from goldherd.negotiation.host import LoginPolicy
from goldherd.reactor.epoll import Reactor
from goldherd.reactor.events_out import (
    ClosedEvent,
    CommandEvent,
    DoneEvent,
    EventQueue,
    FailedEvent,
    NumberedEvent,
    RequestEvent,
)
from goldherd.session.codes import CloseReason
from goldherd.settings import ServerSettings
from goldherd.target.commands.drains import Drains
from goldherd.target.commands.requests import Requests
from goldherd.target.commands.slow_commands import Commands
from goldherd.target.disks import Disks, Seals
from goldherd.target.lifecycle.reconfiguring import differences, merged
from goldherd.target.lifecycle.silence import Silence
from goldherd.target.lifecycle.stopping import Stopping
from goldherd.target.login.admission import Admission
from goldherd.target.login.draining import Draining
from goldherd.target.login.host import Host
from goldherd.target.login.logins import Logins
from goldherd.target.login.portals import Portals, allow_many_files, logins_allowed
from goldherd.target.login.resolver import Resolver
from goldherd.target.login.throttle import LoginThrottle
from goldherd.target.open_targets import OpenTargets
from goldherd.target.sessions import OpenTarget, Running, Session, Sessions
from goldherd.target.slow_steps import SlowSteps
from goldherd.target.space.full import FullDisks
from goldherd.target.space.quotas import Quotas
from goldherd.target.space.volumes import Volumes
from goldherd.target.upkeep import Upkeep

log = structlog.get_logger("goldherd.target")

REASONS: Final = {
    CloseReason.CLOSE_PEER: "the peer closed the connection",
    CloseReason.CLOSE_LOGOUT: "logout",
    CloseReason.CLOSE_PROTOCOL: "the peer broke the protocol",
    CloseReason.CLOSE_DIGEST: "a header digest was wrong",
    CloseReason.CLOSE_SILENT: "the peer did not answer a ping",
    CloseReason.CLOSE_STUCK: "the peer took no data",
    CloseReason.CLOSE_MEMORY: "out of memory",
    CloseReason.CLOSE_GAP: "a command that another connection should have brought never came",
    CloseReason.CLOSE_ALONE: "logout",
}
"""What logs and hooks are told."""


class Predecessor(Protocol):
    """A process whose server this one takes over (target/handover/taking.py)."""

    def listening(self) -> Mapping[str, socket.socket]:
        """Its listening sockets, by their keys in Portals.listening()."""
        ...

    async def take(self, server: "Server") -> None:
        """Opens its disks and makes its sessions; returns when this process is the one that serves."""
        ...

    async def finish(self, server: "Server") -> None:
        """Does what can wait until everything is served."""
        ...


class Server:
    """One running server. Make it, `await start()`, and `await stop()` in the end.

    Args:
        directory: what the targets are.
        settings: addresses, threads, cache, times.
        hooks: the plugins.
        seals: checks sealed parents; None without a catalog.
        state: the folder in which persistent reservations survive a restart; None: they don't.
        reset: throws a node's overlay away; called on a thread.
        quotas: how much space the disks of nodes may take, by node; None: as much as there is.
        linger_seconds: how long a target stays open without a session; None: always.
        make_reactor: makes a reactor of a number and the queue of events; a simulation has its own.
        clock: seconds that only go on.
    """

    def __init__(
        self,
        directory: Directory,
        settings: ServerSettings,
        hooks: Hooks,
        *,
        seals: Seals | None = None,
        state: Path | None = None,
        reset: Callable[[TargetConfig], None] | None = None,
        quotas: Callable[[], Awaitable[Mapping[str, Quota]]] | None = None,
        linger_seconds: float | None = limits.LINGER_SECONDS,
        make_reactor: Callable[[int, EventQueue], Reactor] = Reactor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.hooks = hooks
        self.cache = GoldenCache(settings.cache)
        self.portals: list[Portal] = []
        self._events = EventQueue()
        self._reactors = [make_reactor(number, self._events) for number in range(max(settings.reactors, 1))]
        for reactor in self._reactors:
            reactor.set_ping_times(settings.ping_seconds, settings.ping_timeout_seconds)
            reactor.set_full_disk_hold(settings.full_disk_hold)
        self._executor = Workers()
        self._disks = Disks(hooks, self.cache, seals)
        groups = [address.tag for address in settings.listen]
        self.targets = OpenTargets(self._disks, self._executor, linger_seconds, state, reset, groups)
        self._upkeep = Upkeep(self.targets, self._disks, self._executor)
        self.sessions = Sessions(self._reactors)
        self._drains = Drains(self._reactors)
        self._slow_steps = SlowSteps(self._reactors)
        self._commands = Commands(self._drains, self._executor, self.targets.notice_failures, settings.full_disk_hold)
        self._full_disks = FullDisks(self.targets, settings.full_disk_hold)
        self.volumes = Volumes(self.targets, settings.space_soft, settings.space_hard)
        self._quotas = Quotas(self.targets, self.volumes, quotas)
        self._requests = Requests(self._drains, self._end_reset)
        throttle = LoginThrottle(settings.logins_max, settings.logins_per_address, settings.login_failures, clock)
        self._draining = Draining(clock)
        self._silence = Silence(lambda: self.settings, hooks, self._in_use, self._exists, clock)
        resolver = Resolver(clock)
        admission = Admission(
            directory,
            self.targets,
            self.sessions,
            hooks,
            self._drains,
            resolver,
            lambda: self.settings.login_seconds,
            lambda: self._portals.announced,
            self._take_apart,
            self._draining,
        )
        self._throttle = throttle
        host = Host(directory, hooks, resolver, self.sessions, self._drains)
        self._logins = Logins(host, admission.admit, host.numbers, settings.login_seconds, throttle, _policy(settings))
        self._portals: Portals = Portals(self._logins.begin, throttle.make_room)
        self._timers: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None
        """With reactors=0: while the event loop steps the reactor."""
        self._counted: Mapping[str, int] = {}
        """The meters of the process before this one."""
        self.exchange = admission.exchange
        self._ending: set[asyncio.Task[None]] = set()
        self._hurried = asyncio.Event()
        self._stopping = Stopping(
            settings,
            self._logins,
            self.sessions,
            self.targets,
            self._disks,
            hooks,
            self._reactors,
            self._executor,
            self._hurried,
        )
        self.also_tell: Callable[[], dict[str, Any]] = dict
        """What `status` shows of what other parts of the daemon do; answers at once."""

    # --- life ---

    def upgrade(self) -> dict[str, Any] | None:
        """model.live.Live, which is not asked for this in the daemon itself."""
        raise GoldherdError("A daemon is asked to hand over at its control socket, by 'goldherd upgrade'.")

    async def start(self, taking: Predecessor | None = None) -> list[Portal]:
        """Listens; returns the portals with their real ports. SettingsError when an address can't be had.

        `taking`: what is taken over from another process. HandoverError when that fails.
        """
        allow_many_files()
        self._throttle.logins_max = min(self._throttle.logins_max, logins_allowed())
        self.portals = await self._portals.open(self.settings.listen, taking.listening() if taking else None)
        asyncio.get_running_loop().add_reader(self._events.fileno(), self._read_events)
        if taking is not None:
            await taking.take(self)
        self.start_reactors()
        self.start_timers()
        self._portals.accept()
        if taking is not None:
            await taking.finish(self)
        log.info("serving", portals=[str(portal) for portal in self.portals], reactors=self.settings.reactors)
        return self.portals

    def start_timers(self) -> None:
        """What is done every few seconds."""
        work: dict[Callable[[], Awaitable[None]], Callable[[], float]] = {
            self._upkeep.run: lambda: self.settings.flush_seconds,
            self._slow_steps.tell: lambda: self.settings.flush_seconds,
            self._full_disks.look: lambda: limits.SPACE_LOOK_SECONDS,
            self._silence.look: lambda: limits.SILENCE_LOOK_SECONDS,
            self.volumes.look: lambda: limits.VOLUME_LOOK_SECONDS,
            self._quotas.look: lambda: limits.VOLUME_LOOK_SECONDS,
        }
        loop = asyncio.get_running_loop()
        self._timers += [loop.create_task(self._every(seconds, look)) for look, seconds in work.items()]

    def stop_timers(self) -> None:
        """Nothing is done by the clock any more."""
        while self._timers:
            self._timers.pop().cancel()

    def start_reactors(self) -> None:
        """The data plane runs."""
        for reactor in self._reactors:
            if self.settings.reactors:
                reactor.start()
            else:
                self._ticking = self._step_on_loop(reactor)

    async def stop_reactors(self) -> None:
        """No thread runs a reactor any more; its sessions stay."""
        loop = asyncio.get_running_loop()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
            loop.remove_reader(self._reactors[0].descriptor)
        elif self.settings.reactors:
            for reactor in self._reactors:
                await loop.run_in_executor(self._executor, reactor.stop)

    def _step_on_loop(self, reactor: Reactor) -> "asyncio.Task[None]":
        """reactors=0: the same core, stepped when its epoll descriptor is readable; the task that keeps its clock."""
        loop = asyncio.get_running_loop()

        def step() -> None:
            if self._ticking is not None and reactor.step_once():
                loop.call_soon(step)

        async def tick() -> None:
            step()

        loop.add_reader(reactor.descriptor, step)
        return loop.create_task(self._every(lambda: limits.TICK_MILLISECONDS / 1000, tick))

    @staticmethod
    async def _every(seconds: Callable[[], float], work: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds())
            try:
                await work()
            except Exception:
                log.exception("a timer failed")

    async def stop(self) -> bool:
        """Stops listening, asks clients to log out, waits a while (or until hurry()), flushes and closes everything.

        Returns: whether everything was flushed, closed and ended; if not, threads that hang are left, and the log names
        the disks.
        """
        loop = asyncio.get_running_loop()
        self._portals.close()
        whole = await self._stopping.end_sessions_and_disks()
        self.stop_timers()
        loop.remove_reader(self._events.fileno())
        if not self.settings.reactors:
            await self.stop_reactors()
        whole = await self._stopping.end_threads(whole)
        log.info("stopped", whole=whole)
        return whole

    async def leave(self) -> bool:
        """Another process has taken everything over: nothing is closed, no client is told. True, as stop() says it."""
        asyncio.get_running_loop().remove_reader(self._events.fileno())
        await asyncio.get_running_loop().run_in_executor(self._executor, self.hooks.settle)
        self._executor.shutdown(wait=False)
        log.info("left")
        return True

    def reconfigure(self, new: ServerSettings) -> tuple[list[str], list[str]]:
        """Takes other settings: the names of those that have changed, and of those that need a restart."""
        changed, waiting = differences(self.settings, new)
        self.settings = settings = merged(self.settings, new)
        self._stopping.settings = settings
        self._throttle.reconfigure(
            min(settings.logins_max, logins_allowed()), settings.logins_per_address, settings.login_failures
        )
        self._logins.reconfigure(settings.login_seconds, _policy(settings))
        for reactor in self._reactors:
            reactor.set_ping_times(settings.ping_seconds, settings.ping_timeout_seconds)
        return changed, waiting

    def drain(self, on: bool) -> dict[str, Any]:
        """Lets no machine begin to boot from now on, or lets them in again; what status() says then."""
        if on != self._draining.on:
            log.info("no machine may begin to boot" if on else "machines may boot again", nodes=self.nodes_running())
        self._draining.on = on
        return self.status()

    def ask_to_stop(self) -> None:
        """Has the process end as by SIGTERM."""
        os.kill(os.getpid(), signal.SIGTERM)

    def nodes_running(self) -> int:
        """How many targets have sessions."""
        return sum(bool(target.sessions) for target in self.targets.all())

    def _in_use(self, target: str) -> bool:
        """Whether a target has a session."""
        found = self.targets.get(target)
        return found is not None and any(not session.ending for session in found.sessions)

    async def _exists(self, target: str) -> bool:
        """Whether the directory still has a target."""
        return await self.directory.find(target) is not None

    def hurry(self) -> None:
        """The server stops without waiting for its clients."""
        self._hurried.set()

    # --- what reactors say ---

    def _read_events(self) -> None:
        for event in self._events.collect():
            try:
                self._act(event)
            except Exception:
                log.exception("an event of a reactor could not be answered", kind=type(event).__name__)
                session = self.sessions.get(getattr(event, "session_id", 0))
                if session is not None:  # a new session is better than an answer that never comes
                    session.end("a request of it could not be answered")

    def _act(self, event: object) -> None:
        if isinstance(event, DoneEvent):
            self._drains.done(event.request_id, event.found)
            return
        if isinstance(event, NumberedEvent):
            self._drains.done(event.request_id, event.numbers)
            return
        assert isinstance(event, CommandEvent | FailedEvent | RequestEvent | ClosedEvent)
        session = self.sessions.get(event.session_id)
        if session is None:
            return
        if isinstance(event, CommandEvent):
            self._commands.command(session, event)
        elif isinstance(event, FailedEvent):
            self._commands.failed(session, event)
        elif isinstance(event, RequestEvent):
            self._requests.request(session, event)
        elif event.last:
            self._silence.note_end(session, event.reason == CloseReason.CLOSE_SILENT and not session.ending)
            reason = session.ending or REASONS[event.reason]
            self._when_over(session.running.values(), lambda: self._take_apart(session, reason))
        else:
            running = [each for each in session.running.values() if each.connection == event.connection]
            self._when_over(running, lambda: session.remove_connection(event.connection))

    def _when_over(self, running: Iterable[Running], then: Callable[[], None]) -> None:
        """No reactor works for a connection any more; what Python does for it must not outlive it either."""
        tasks = [each.task for each in running]
        for each in running:
            each.abort()
        if not tasks:
            then()
            return

        async def finish() -> None:
            await asyncio.wait(tasks)
            then()

        task = asyncio.get_running_loop().create_task(finish())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _take_apart(self, session: Session, reason: str) -> None:
        """The session is over, and no reactor uses anything of it."""
        session.detach()
        for running in session.running.values():  # no reactor waits for its reply, and it may be long
            running.abort()
        session.reactor.forget(session.id)
        self.sessions.remove(session)
        if session.open_target is not None:
            log.info("a session was closed", target=session.target, initiator=session.initiator, reason=reason)
            self.hooks.session_closed(session, reason)
            self._draining.note_end(session.target)
            self.targets.release(session.open_target)

    @staticmethod
    def _end_reset(sessions: Iterable[Session]) -> None:
        """TARGET COLD RESET: all sessions of the target end; the sender's ends with its response."""
        for session in sessions:
            session.end("another initiator reset the target")

    # --- what a hand-over to another process asks (target/handover/) ---

    @property
    def reactors(self) -> Sequence[Reactor]:
        """The data plane."""
        return self._reactors

    @property
    def disks(self) -> Disks:
        """The disks."""
        return self._disks

    def listening(self) -> list[tuple[str, int]]:
        """The sockets that accept connections, each with a key for what was asked for."""
        return self._portals.listening()

    def pause_portals(self) -> None:
        """Accepts no connection until resume_portals()."""
        self._portals.pause()

    def resume_portals(self) -> None:
        """Accepts connections again."""
        self._portals.accept()

    async def settle_logins(self, seconds: float) -> None:
        """No login is under way any more when this returns."""
        await self._logins.settle(seconds)

    async def hold_reactors(self) -> None:
        """Nothing new begins, and nothing is under way in the data plane when this returns."""
        await self._drains.ask_all(lambda reactor, request_id: reactor.hold(request_id))

    def run_in_thread(self, work: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
        """Runs something on a thread that may sleep."""
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def own_images(self, target: OpenTarget) -> list[Image]:
        """The images of a target that nobody else uses."""
        return [image for image in target.images if not self._disks.is_shared(image)]

    def count_on(self, counters: Mapping[str, int]) -> None:
        """Meters go on from these."""
        self._counted = dict(counters)

    # --- meters ---

    def counters(self) -> dict[str, int]:
        """The meters of all reactors."""
        totals = dict(self._counted)
        for reactor in self._reactors:
            for name, value in reactor.counters().items():
                totals[name] = totals.get(name, 0) + value
        return totals

    def status(self) -> dict[str, Any]:
        """What `goldherd status` shows."""
        return {
            "pid": os.getpid(),
            "portals": [str(portal) for portal in self.portals],
            "reactors": self.settings.reactors,
            "draining": self._draining.on,
            "sessions": [
                {
                    "node": session.open_target.config.node if session.open_target else None,
                    "target": session.target or None,
                    "initiator": session.initiator,
                    "address": session.address,
                    "isid": session.isid.hex(),
                    "connections": len(session.connections),
                    "state": "discovery"
                    if session.open_target is None
                    else "loader"
                    if session.by_loader
                    else "logged in",
                }
                for session in self.sessions
            ],
            "silent_nodes": self._silence.describe(),
            "failed_disks": self.targets.failed_disks(),
            "full_disks": self._full_disks.describe(),
            "volumes": self.volumes.describe(),
            "quotas": self._quotas.describe(),
            "lost_disks": [path for target in self.targets.all() for path in target.lost],
            "cache": {name: value for name, value in self.cache.describe().items() if name != "images"},
            "images": self.cache.describe()["images"],
            "counters": self.counters(),
            "slow_steps": self._slow_steps.all(),
            "plugins": [{"name": name, **self.hooks.faults.of(name)._asdict()} for name in self.hooks.names],
            **self.also_tell(),
        }


def _policy(settings: ServerSettings) -> LoginPolicy:
    """The rules of logins."""
    return LoginPolicy(
        connections_max=settings.connections_max,
        rounds_max=settings.login_rounds,
        text_bytes_max=settings.login_text_bytes,
    )
