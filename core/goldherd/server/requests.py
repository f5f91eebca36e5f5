"""Answers the PDUs that reactors hand over: Text, Logout and task management (RFC 7143 11.10, 11.14, 11.5)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from goldherd.reactor.outbox import RequestLetter
from goldherd.scsi import task_management
from goldherd.server.fences import Fences
from goldherd.server.sessions import Path, Session
from goldherd.wire import header
from goldherd.wire.opcodes import Opcode

log = structlog.get_logger("goldherd.requests")

TAKES_STAT_SN: Final = 1
CLOSES: Final = 2
"""What send_pdu is told about a PDU; PduFlag in reactor/core.pxd."""

COMPLETE, NO_TASK, NO_LUN, NO_REASSIGNMENT, NOT_SUPPORTED, REJECTED = 0, 1, 2, 4, 5, 255
"""Responses to task management requests (RFC 7143 11.6.1)."""


class Requests:
    """The PDUs of the initiators that are no SCSI commands.

    Args:
        fences: to make a unit or a session stand still.
        close_target: ends all sessions of a session's target (TARGET COLD RESET).
    """

    def __init__(self, fences: Fences, close_target: Callable[[Session], None]) -> None:
        self._fences = fences
        self._close_target = close_target
        self._tasks: set[asyncio.Task[None]] = set()

    def request(self, session: Session, letter: RequestLetter) -> None:
        """Text, Logout or task management."""
        opcode = header.opcode_of(letter.header)
        if opcode == Opcode.TEXT_REQUEST:
            before = session.exchange.max_send_data_segment
            answers = session.exchange.receive(letter.header, letter.data)
            now = session.exchange.max_send_data_segment
            for answer in answers:
                session.reactor.send_pdu(session.token, answer, TAKES_STAT_SN, letter.tag, now if now != before else 0)
        elif opcode == Opcode.LOGOUT_REQUEST:
            self._logout(session, letter)
        else:
            task = asyncio.get_running_loop().create_task(self._manage(session, letter))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _logout(session: Session, letter: RequestLetter) -> None:
        """RFC 7143 11.14: reason 0 the session, 1 this connection, 2 for recovery, which level 0 hasn't."""
        request = header.LogoutRequest.read(letter.header)
        reason = request.flags & 0x7F
        wrong_connection = reason == 1 and request.cid != session.login.cid
        response = 2 if reason == 2 else 1 if wrong_connection else 0 if reason < 2 else 3
        answer = header.pdu(header.LogoutResponse(itt=request.itt, response=response))
        flags = TAKES_STAT_SN | (CLOSES if response == 0 else 0)
        session.reactor.send_pdu(session.token, answer, flags, letter.tag)

    # --- task management (RFC 7143 11.5) ---

    async def _manage(self, session: Session, letter: RequestLetter) -> None:
        request = header.TaskManagementRequest.read(letter.header)
        function = request.flags & 0x7F
        response = NOT_SUPPORTED
        try:
            handler = _FUNCTIONS.get(function)
            if handler is not None:
                response = await handler(self, session, request, letter.serial)
        except Exception:
            log.exception("task management failed", function=function)
            response = REJECTED
        answer = header.pdu(header.TaskManagementResponse(itt=request.itt, response=response))
        closes = function == 7 and response == COMPLETE
        session.reactor.send_pdu(session.token, answer, TAKES_STAT_SN | (CLOSES if closes else 0), letter.tag)
        if closes:
            self._close_target(session)

    @staticmethod
    def _path(session: Session, lun: int) -> Path | None:
        first = lun >> 48
        return session.paths.get(first & 0x3FFF if first >> 14 == 1 else first) if not lun & (1 << 48) - 1 else None

    async def _abort_task(
        self,
        session: Session,
        request: header.TaskManagementRequest,
        serial: int,  # noqa: ARG002
    ) -> int:
        if self._path(session, request.lun) is None:
            return NO_LUN
        tag = int.from_bytes(request.referenced_tag.to_bytes(4), "little")  # as the reactor keeps it
        running = session.running.get(tag)
        if running is not None:
            session.aborted.add(tag)
        found = await self._fences.ask(lambda fence: session.reactor.abort_task(fence, session.token, tag))
        if running is not None:
            await asyncio.wait([running])  # it can't write any more when this returns
        return COMPLETE if found else NO_TASK

    async def _abort_task_set(self, session: Session, request: header.TaskManagementRequest, serial: int) -> int:
        path = self._path(session, request.lun)
        if path is None:
            return NO_LUN
        running = self._mark_running(session)
        await self._fences.ask(
            lambda fence: session.reactor.abort_session_tasks(fence, session.token, path.live.hot, serial),
        )
        await self._wait(running)
        return COMPLETE

    async def _abort_unit(self, session: Session, path: Path) -> None:
        """All tasks of all sessions on the unit."""
        hot = path.live.hot
        running = [task for other in session.neighbours() for task in self._mark_running(other)]
        await self._fences.ask_all(lambda reactor, fence: reactor.abort_unit_tasks(fence, hot))
        await self._wait(running)

    @staticmethod
    def _mark_running(session: Session) -> list[asyncio.Task[None]]:
        session.aborted.update(session.running)
        return list(session.running.values())

    @staticmethod
    async def _wait(running: list[asyncio.Task[None]]) -> None:
        if running:
            await asyncio.wait(running)

    async def _clear_task_set(
        self,
        session: Session,
        request: header.TaskManagementRequest,
        serial: int,  # noqa: ARG002
    ) -> int:
        path = self._path(session, request.lun)
        if path is None:
            return NO_LUN
        await self._abort_unit(session, path)
        task_management.clear_task_set(path.live.unit, path.nexus)
        return COMPLETE

    async def _unit_reset(
        self,
        session: Session,
        request: header.TaskManagementRequest,
        serial: int,  # noqa: ARG002
    ) -> int:
        path = self._path(session, request.lun)
        if path is None:
            return NO_LUN
        await self._abort_unit(session, path)
        task_management.logical_unit_reset(path.live.unit, path.nexus)
        return COMPLETE

    async def _target_reset(
        self,
        session: Session,
        request: header.TaskManagementRequest,
        serial: int,  # noqa: ARG002
    ) -> int:
        if session.live is None:
            return NOT_SUPPORTED
        for path in session.paths.values():
            await self._abort_unit(session, path)
        task_management.target_reset(session.live.target)
        return COMPLETE

    async def _no_reassignment(
        self,
        session: Session,
        request: header.TaskManagementRequest,
        serial: int,  # noqa: ARG002
    ) -> int:
        return NO_REASSIGNMENT


_Handler = Callable[[Requests, Session, header.TaskManagementRequest, int], Awaitable[int]]
_FUNCTIONS: Final[dict[int, _Handler]] = {
    1: Requests._abort_task,
    2: Requests._abort_task_set,
    4: Requests._clear_task_set,
    5: Requests._unit_reset,
    6: Requests._target_reset,
    7: Requests._target_reset,
    8: Requests._no_reassignment,
}
"""CLEAR ACA (3) and the queries of RFC 7144 (9 to 12) are not supported."""
