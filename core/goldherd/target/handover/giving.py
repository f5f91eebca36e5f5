"""The running server's part of a hand-over.

Theory of operation. The successor is started first and gets ready: it reads the catalog, loads plugins and opens the
golden images. Until then nothing stands still. Then the server accepts no connection (the kernel keeps those that
come), lets logins finish, flushes its disks, holds its reactors, and waits until nothing is under way on another
thread. Now everything that it knows of its sessions is written down, the disks are closed, and descriptors and records
go to the successor, which opens the disks, takes the sessions up, and says so ("taken"). It is told "go", answers
"going", and only then begins to serve; this process ends without a byte to any client.

Whatever fails before that answer is undone: the successor is ended, the disks are opened again, and the server goes on
with its sessions as if nothing had been. All waiting has bounds (limits.py, HANDOVER_...). A disk that hangs ends the
hand-over before anything was closed, if the disk hangs already.
"""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import TypeAdapter

import goldherd
from goldherd import limits
from goldherd.block.image import Image
from goldherd.model.handover import STATE_VERSION, MovedListener, MovedServer, MovedSession
from goldherd.model.names import listed, natural_key
from goldherd.reactor.handover import busy_sessions, export_sessions
from goldherd.target.handover.capture import closed_records, session_record, target_record
from goldherd.target.handover.channel import Channel, HandoverError
from goldherd.target.sessions import OpenTarget

if TYPE_CHECKING:
    from goldherd.target.server import Server

log = structlog.get_logger("goldherd.handover")

FORMAT: Final = TypeAdapter(MovedServer)
"""Reads and writes the state."""
OPTION: Final = "--take-over"
"""The option of `goldherd serve` that names the successor's end of the channel."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a hand-over."""

    pid: int
    """The process that serves now."""
    version: str
    """Its goldherd."""
    sessions: int
    pause_seconds: float
    """How long the sessions stood still."""


class Laps:
    """What a pause was spent on: seconds, as the log shows them."""

    def __init__(self) -> None:
        self._begin = self._last = time.monotonic()
        self.seconds: dict[str, float] = {"pause_seconds": 0.0}

    def lap(self, name: str) -> None:
        """A part of the pause has ended."""
        now = time.monotonic()
        self.seconds[f"{name}_seconds"] = round(now - self._last, 3)
        self.seconds["pause_seconds"] = round(now - self._begin, 3)
        self._last = now


def own_command() -> list[str]:
    """The command line of this process, as its successor gets it."""
    words = list(sys.orig_argv[1:])
    if OPTION in words:
        at = words.index(OPTION)
        del words[at : at + 2]
    return [sys.executable, *words]


class Giving:
    """Hands a server over, once; if that fails, it may be tried again.

    Args:
        server: what runs.
        shared: descriptors that the successor needs from the first moment on, by name.
        command: starts the successor.
    """

    def __init__(
        self,
        server: "Server",
        shared: Callable[[], Mapping[str, int]],
        command: Sequence[str] | None = None,
    ) -> None:
        self._server = server
        self._shared = shared
        self._command = command
        self._under_way = False
        self._uncertain = False
        """Whether the successor that failed may have begun to serve."""

    async def hand_over(self) -> Answer:
        """Starts a successor and hands over to it; HandoverError with the reason when this server goes on instead."""
        if self._under_way:
            raise HandoverError("A hand-over is under way already.")
        self._under_way = True
        loop = asyncio.get_running_loop()
        try:
            channel, child = await loop.run_in_executor(None, self._start)
            try:
                return await self._lead(channel, child)
            except HandoverError as failure:
                code = await loop.run_in_executor(None, _end, channel, child)
                ended = "" if code is None or code == -signal.SIGKILL else f" The new process ended with code {code}."
                log.error("the hand-over failed, this process goes on", reason=str(failure), code=code)
                raise HandoverError(f"{failure}{ended} The daemon that was running goes on.") from None
            except BaseException:
                await loop.run_in_executor(None, _end, channel, child)
                raise
        finally:
            self._under_way = False

    def _start(self) -> tuple[Channel, "subprocess.Popen[bytes]"]:
        channel, theirs = Channel.pair()
        with theirs:
            number = theirs.fileno()
            try:
                command = [*(self._command or own_command()), OPTION, str(number)]
                child = subprocess.Popen(command, pass_fds=(number,))  # its output is ours
            except OSError as failure:
                channel.close()
                raise HandoverError(f"The new process could not be started: {failure}.") from None
        return channel, child

    async def _lead(self, channel: Channel, child: "subprocess.Popen[bytes]") -> Answer:
        loop = asyncio.get_running_loop()
        server = self._server
        early = MovedServer(targets=tuple(target_record(target) for target in server.targets.all()))
        version = await loop.run_in_executor(None, self._introduce, channel, early)
        async with AsyncExitStack() as undo:
            server.pause_portals()
            undo.callback(server.resume_portals)
            await server.settle_logins(limits.HANDOVER_LOGINS_SECONDS)
            server.stop_timers()
            undo.callback(server.start_timers)
            targets = await self._lock_targets(undo)
            await self._flush(targets)
            clock = Laps()
            undo.push_async_callback(self._serve_again)
            await self._stand_still(targets)
            clock.lap("still")
            sessions = await self._move(channel, child, targets, undo, clock)
            undo.pop_all()
        log.info("handed over", pid=child.pid, version=version, sessions=sessions, **clock.seconds)
        return Answer(child.pid, version, sessions, clock.seconds["pause_seconds"])

    def _introduce(self, channel: Channel, early: MovedServer) -> str:
        """The successor says who it is, learns which disks it will open, and gets ready; its version."""
        hello = channel.receive(limits.HANDOVER_START_SECONDS, "hello").fields
        version, reads = str(hello.get("goldherd")), hello.get("reads")
        if not isinstance(reads, list) or STATE_VERSION not in reads:
            channel.send("stop", reason="another format")
            raise HandoverError(
                f"goldherd {version} does not read the state that goldherd {goldherd.__version__} hands over (format "
                f"{STATE_VERSION}): restart the daemon instead, with 'systemctl restart goldherd'."
            )
        shared = self._shared()
        channel.send(
            "offer",
            descriptors=list(shared.values()),
            content=FORMAT.dump_json(early),
            names=list(shared),
            format=STATE_VERSION,
        )
        channel.receive(limits.HANDOVER_START_SECONDS, "ready")
        return version

    # --- standing still ---

    async def _lock_targets(self, undo: AsyncExitStack) -> list[OpenTarget]:
        """The open targets. From now on no timer closes or flushes them, and none is opened."""
        targets = self._server.targets
        for target in targets.all():
            lock = targets.lock(target.config.name)
            try:
                async with asyncio.timeout(limits.HANDOVER_LOGINS_SECONDS):
                    await lock.acquire()
            except TimeoutError:
                raise _hang([target]) from None
            undo.callback(lock.release)
        return targets.all()

    async def _flush(self, targets: Sequence[OpenTarget]) -> None:
        """What is flushed now need not be flushed while everything stands still; a disk that hangs shows itself."""
        server = self._server
        works = {
            server.run_in_thread(_flush, image): target for target in targets for image in server.own_images(target)
        }
        if works:
            _, late = await asyncio.wait(works, timeout=limits.HANDOVER_FLUSH_SECONDS)
            if late:
                raise _hang([works[work] for work in late])

    async def _stand_still(self, targets: Sequence[OpenTarget]) -> None:
        server = self._server
        try:
            async with asyncio.timeout(limits.HANDOVER_STILL_SECONDS):
                await server.hold_reactors()
                while any(target.working for target in targets):
                    await asyncio.sleep(limits.HANDOVER_LOOK_SECONDS)
        except TimeoutError:
            await server.stop_reactors()
            busy = {number for reactor in server.reactors for number in busy_sessions(reactor)}
            for target in targets:
                if target.working or any(session.id in busy for session in target.sessions):
                    raise HandoverError(
                        f"A command on the disk of {target.config.node or target.config.name} does not end: it takes "
                        "long, or the disk hangs. Try again when it has ended."
                    ) from None
            raise HandoverError("A request of an initiator is not answered in time. Try again.") from None
        await server.stop_reactors()

    async def _serve_again(self) -> None:
        for reactor in self._server.reactors:
            reactor.go_on()
        self._server.start_reactors()

    # --- the move ---

    async def _move(
        self,
        channel: Channel,
        child: "subprocess.Popen[bytes]",
        targets: Sequence[OpenTarget],
        undo: AsyncExitStack,
        clock: Laps,
    ) -> int:
        """Hands everything over, up to the word "go"; the number of sessions."""
        loop = asyncio.get_running_loop()
        state, descriptors = self._state(targets)
        content = await loop.run_in_executor(None, FORMAT.dump_json, state)
        clock.lap("state")
        undo.push_async_callback(self._open_again, targets)
        undo.push_async_callback(loop.run_in_executor, None, _end, channel, child, 0)
        await self._close(targets)
        clock.lap("close")

        def send() -> None:
            channel.send_descriptors("sockets", descriptors)
            channel.send("state", content=content)
            channel.receive(limits.HANDOVER_TAKE_SECONDS, "taken")
            channel.send("go")
            try:
                channel.receive(limits.HANDOVER_ANSWER_SECONDS, "going")
            except HandoverError:
                child.kill()
                self._uncertain = child.wait() is not None and channel.holds("going")
                raise

        await loop.run_in_executor(None, send)
        clock.lap("take")
        return len(state.sessions)

    def _state(self, targets: Sequence[OpenTarget]) -> tuple[MovedServer, list[int]]:
        server = self._server
        descriptors: list[int] = []

        def add(descriptor: int) -> int:
            descriptors.append(descriptor)
            return len(descriptors) - 1

        listeners = [MovedListener(address=key, socket=add(number)) for key, number in server.listening()]
        sessions: list[MovedSession] = []
        for reactor in server.reactors:
            for session_id, (numbers, sockets) in export_sessions(reactor).items():
                session = server.sessions.get(session_id)
                if session is None or session.ending or session.set_aside:
                    continue
                places = {number: add(sockets[number]) for number in sockets}
                sessions.append(session_record(session, numbers, places))
        state = MovedServer(
            targets=tuple(target_record(target) for target in targets),
            sessions=tuple(sessions),
            listeners=tuple(listeners),
            closed=closed_records(server.targets.remembered),
            failures=server.disks.failure_records(),
            counters=server.counters(),
        )
        return state, descriptors

    async def _close(self, targets: Sequence[OpenTarget]) -> None:
        """Writes the tables of the disks and lets go of their files."""
        server = self._server
        works = {
            server.run_in_thread(server.targets.close_image, image): target
            for target in targets
            for image in server.own_images(target)
        }
        if works:
            _, late = await asyncio.wait(works, timeout=limits.HANDOVER_CLOSE_SECONDS)
            if late:
                raise _hang([works[work] for work in late])
        for target in targets:
            server.targets.notice_failures(target)

    async def _open_again(self, targets: Sequence[OpenTarget]) -> None:
        """The disks as before; the sessions of one that can't be had end. The successor has ended: two processes never
        have a disk open."""
        server = self._server
        with server.disks.trusting():
            results = await asyncio.gather(
                *(server.targets.open_again(target) for target in targets), return_exceptions=True
            )
        for target, failure in zip(targets, results, strict=True):
            if isinstance(failure, BaseException):
                log.error("a disk could not be opened again", target=target.config.name, reason=str(failure))
                for session in target.sessions:
                    session.end("its disk could not be opened again")
        if self._uncertain:  # the successor may have answered something: no session can go on from an older state
            for session in server.sessions:
                session.end("the process that took it over ended")


def _flush(image: Image) -> None:
    """A disk that fails here is write protected from now on, and moves with that."""
    if image.sync_failure is None:
        try:
            image.synchronize()
        except (Exception, SystemExit) as failure:  # of a backend
            log.error("a disk could not be flushed", path=image.path, reason=str(failure))


def _hang(targets: Iterable[OpenTarget]) -> HandoverError:
    """Names all of them: one that is only slow must not hide the one that hangs."""
    names = sorted({target.config.node or target.config.name for target in targets}, key=natural_key)
    if len(names) == 1:
        return HandoverError(f"The disk of {listed(names)} does not answer. Try again when it does.")
    return HandoverError(f"The disks of {listed(names)} do not answer. Try again when they do.")


def _end(
    channel: Channel, child: "subprocess.Popen[bytes]", seconds: float = limits.HANDOVER_ANSWER_SECONDS
) -> int | None:
    """Ends a successor that does not take over, if it does not end by itself in time: nothing that it does is of use
    to anybody. Its exit code; None when it can't be ended now."""
    channel.close()
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
    try:
        return child.wait(limits.HANDOVER_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return None
