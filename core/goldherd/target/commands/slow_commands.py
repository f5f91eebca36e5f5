"""Carries out the SCSI commands that reactors hand over, and words the sense of I/O that failed in them.

Quick commands are executed at once on the event loop; those that touch a disk run on a thread. A command that must
run alone (COMPARE AND WRITE...) first holds the unit's writes and waits until no reactor works on it. Every command
gets exactly one reply, because its place in the command window is held until then.
"""

import asyncio
import errno
import itertools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import structlog

from goldherd import limits
from goldherd.errors import Sense
from goldherd.reactor.events_out import CommandEvent, FailedEvent
from goldherd.scsi import sense
from goldherd.scsi.absent import execute_without_unit
from goldherd.scsi.call import Command, Reply
from goldherd.scsi.commands import lookup
from goldherd.scsi.disk.extent import span_of
from goldherd.scsi.execute import execute, io_error
from goldherd.scsi.fastpath.unit import HotUnit
from goldherd.scsi.sam import Direction, Status
from goldherd.scsi.state.nexus import Nexus
from goldherd.session.codes import Purpose
from goldherd.target.commands.drains import Drains
from goldherd.target.sessions import LunNexus, OpenTarget, Running, Session

log = structlog.get_logger("goldherd.commands")

_KINDS: Final = {Purpose.PURPOSE_READ: "read", Purpose.PURPOSE_WRITE: "write", Purpose.PURPOSE_FLUSH: "flush"}
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Of these the watch over full disks tells (space/full.py), once and not for each write."""
_TRANSPORT_ERRORS: Final = {
    errno.EBADMSG: Sense(0x0B, 0x47, 0x05),
    errno.EPROTO: Sense(0x0B, 0x4B, 0x00),
    errno.EOVERFLOW: Sense(0x0B, 0x0C, 0x0C),
    errno.EBADRQC: Sense(0x05, 0x49, 0x00),
    errno.EBADE: sense.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT,
}
"""What was wrong with the PDUs of a command: its Data-Out (RFC 7143 11.4.7.2) damaged on the way (protocol service CRC
error), not what the R2T asked for (data phase error) or not announced (unexpected unsolicited data); a task attribute
that means nothing (invalid message error, SAM-5 8.9); the R and W bits of its header both set (RFC 7143 11.3.1)."""


class Commands:
    """The events of the reactors that want something done.

    Args:
        drains: to make a unit or a session stand still.
        executor: threads that may sleep.
        disk_failed: told of a target of which a disk may have failed.
        hold_seconds: how long commands wait for space on a full disk.
    """

    def __init__(
        self,
        drains: Drains,
        executor: Executor,
        disk_failed: Callable[[OpenTarget], None],
        hold_seconds: float,
    ) -> None:
        self._hold_ms = int(hold_seconds * 1000)
        self._drains = drains
        self._disk_failed = disk_failed
        self._executor = executor
        self._tasks: set[asyncio.Task[None]] = set()
        self._behind = itertools.count(1)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- SCSI commands ---

    def command(self, session: Session, event: CommandEvent) -> None:
        """Starts one command."""
        lun_nexus = session.luns.get(event.nexus)
        if lun_nexus is None:
            self._without_unit(session, event)
            return
        command = lookup(event.cdb)
        if command is not None and (command.blocking or command.exclusive):
            task = self._spawn(self._run(session, lun_nexus, command, event))
            if not command.survives_abort:
                session.running[event.itt] = Running(lun_nexus.open_unit, task, event.connection)
            return
        self._reply(session, event, command, lun_nexus, self._execute(lun_nexus, session, event))

    def _without_unit(self, session: Session, event: CommandEvent) -> None:
        if session.open_target is None:  # a discovery session has no business with SCSI (RFC 7143 4.3)
            log.warning("a discovery session sent a SCSI command", initiator=session.initiator)
            session.end("a discovery session sent a SCSI command")
            return
        reply = execute_without_unit(session.open_target.target, event.cdb)
        session.reactor.reply(event.session_id, event.tag, reply.status, reply.sense, reply.data_in)

    @staticmethod
    def _execute(lun_nexus: LunNexus, session: Session, event: CommandEvent) -> Reply:
        running = session.running.get(event.itt)
        return execute(
            lun_nexus.open_unit.unit,
            lun_nexus.nexus,
            event.cdb,
            event.data_out,
            expected_data_out=event.expected if event.data_out else None,
            aborted=lambda: running is not None and running.aborted,
            data_plane=True,
        )

    async def _run(self, session: Session, lun_nexus: LunNexus, command: Command, event: CommandEvent) -> None:
        """A command that may sleep, perhaps one that must be alone."""
        loop = asyncio.get_running_loop()
        assert session.open_target is not None, "a discovery session has no LUNs"
        session.open_target.working += 1
        key = event.itt
        try:
            if command.exclusive:
                async with lun_nexus.open_unit.exclusive:
                    reply = await self._alone(lun_nexus, lambda: self._execute(lun_nexus, session, event))
            else:
                reply = await self._on_thread(session, lun_nexus, event)
                if reply.lacks_space and command.repeatable:
                    reply = await self._hold(session, lun_nexus, event, reply)
            if reply.aborts:
                session.running.pop(key, None)  # two that abort each other must not wait for each other
            for other in reply.aborts:
                await self._abort_nexus(session, lun_nexus, other)
            if reply.after is not None:
                key = self._put_behind(session, key)
            self._reply(session, event, command, lun_nexus, reply)
            if reply.after is not None:
                async with nullcontext() if command.survives_abort else session.threads:
                    await loop.run_in_executor(self._executor, reply.after)
        except (Exception, SystemExit):  # of a backend
            log.exception("a command could not be carried out", cdb=event.cdb.hex())
            failed = Reply(Status.CHECK_CONDITION, sense.encode(sense.INTERNAL_TARGET_FAILURE))
            self._reply(session, event, command, lun_nexus, failed)
        finally:
            session.open_target.working -= 1
            session.running.pop(key, None)

    async def _on_thread(self, session: Session, lun_nexus: LunNexus, event: CommandEvent) -> Reply:
        async with session.threads:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._execute, lun_nexus, session, event)

    async def _hold(self, session: Session, lun_nexus: LunNexus, event: CommandEvent, reply: Reply) -> Reply:
        """A command that found no space is tried again until it finds some, its time is over, or it is aborted."""
        hot, running = lun_nexus.open_unit.hot, session.running.get(event.itt)
        while reply.lacks_space:
            now_ms = time.monotonic_ns() // 1_000_000  # the clock of the reactors
            if now_ms >= hot.note_lack(now_ms) + self._hold_ms or (running is not None and running.aborted):
                return reply
            await asyncio.sleep(limits.SPACE_RETRY_MS / 1000)
            reply = await self._on_thread(session, lun_nexus, event)
        hot.note_space()
        return reply

    def _put_behind(self, session: Session, itt: int) -> int:
        """A command goes on behind its answer, when its Initiator Task Tag may be used again: its other key."""
        key = -next(self._behind)
        running = session.running.pop(itt, None)
        if running is not None:
            session.running[key] = running
        return key

    async def _alone(self, lun_nexus: LunNexus, work: Callable[[], Reply]) -> Reply:
        """Holds the unit's writes, waits for those that run, works, lets go."""
        hot = lun_nexus.open_unit.hot
        hot.quiesce()
        try:
            await self._drains.ask_all(lambda reactor, request_id: reactor.drain(request_id, hot))
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            hot.resume()
            for reactor in self._drains.reactors:
                reactor.wake()

    async def _abort_nexus(self, session: Session, lun_nexus: LunNexus, nexus: Nexus) -> None:
        """PREEMPT AND ABORT: the preempted nexus's tasks on this unit."""
        for other in session.neighbours():
            if any(its.nexus is nexus for its in other.luns.values()):
                running = [each for each in other.running.values() if each.open_unit is lun_nexus.open_unit]
                for each in running:
                    each.abort()
                found = await self._drains.ask(partial(_abort_on, other, lun_nexus.open_unit.hot))
                if running:
                    await asyncio.wait([each.task for each in running])
                if found or running:
                    nexus.attend(sense.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR)

    @staticmethod
    def _reply(
        session: Session, event: CommandEvent, command: Command | None, lun_nexus: LunNexus, reply: Reply
    ) -> None:
        if reply.proceeds:
            session.reactor.proceed(event.session_id, event.tag)
            return
        written: int | None = None
        if command is not None and command.direction is Direction.OUT:
            done = reply.status in (Status.GOOD, Status.CONDITION_MET) or reply.overflows
            written = command.data_out_bytes(event.cdb, lun_nexus.open_unit.unit.block_size) if done else 0
        session.reactor.reply(event.session_id, event.tag, int(reply.status), reply.sense, reply.data_in, written)

    # --- I/O that failed in the data plane ---

    def failed(self, session: Session, event: FailedEvent) -> None:
        """Words the sense data of a task whose I/O failed."""
        lun_nexus = session.luns.get(event.nexus)
        if lun_nexus is None:
            absent = sense.encode(sense.LOGICAL_UNIT_NOT_SUPPORTED)
            session.reactor.reply(event.session_id, event.tag, Status.CHECK_CONDITION, absent, b"", 0)
            return
        kind = _KINDS.get(event.purpose, "write")
        unit = lun_nexus.open_unit.unit
        transport = _TRANSPORT_ERRORS.get(event.errno)
        if transport is not None:
            log.warning(
                "an initiator sent a wrong command",
                target=session.target,
                initiator=session.initiator,
                reason=errno.errorcode[event.errno],
            )
            encoded = sense.encode(transport, descriptor=unit.mode.descriptor_sense)
            reply = Reply(Status.CHECK_CONDITION, encoded)
        else:
            if unit.medium.image.sync_failure is None and event.errno not in _FULL:
                log.error(
                    "a disk failed",
                    target=session.target,
                    path=unit.medium.image.path,
                    doing=kind,
                    reason=errno.errorcode.get(event.errno, event.errno),
                )
            elif (
                unit.medium.image.sync_failure is not None and session.open_target is not None
            ):  # told once, and not for each write that is refused
                self._disk_failed(session.open_target)
            reply = io_error(unit, kind, event.errno, _only_block(kind, event.cdb))
        written = 0 if kind == "write" else None
        session.reactor.reply(event.session_id, event.tag, int(reply.status), reply.sense, b"", written)


def _only_block(kind: str, cdb: bytes) -> int | None:
    """The block that a command of one block was about, for INFORMATION; None for a command of several."""
    if kind == "flush":
        return None
    lba, count = span_of(cdb)
    return lba if count == 1 else None


def _abort_on(session: Session, hot: HotUnit, request_id: int) -> None:
    session.reactor.abort_session_tasks(request_id, session.id, hot)
