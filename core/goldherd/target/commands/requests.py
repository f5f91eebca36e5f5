"""Answers the PDUs that reactors hand over besides SCSI commands: Text, Logout (RFC 7143 11.10, 11.14).

Task management is in task_management.py.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from goldherd.reactor.events_out import RequestEvent
from goldherd.session.codes import PduFlag
from goldherd.target.commands.drains import Drains
from goldherd.target.commands.task_management import Management
from goldherd.target.sessions import Session
from goldherd.wire import header
from goldherd.wire.opcodes import FunctionResponse, LogoutCode, LogoutReason, Opcode, TaskManagement

_LOGOUTS: Final[dict[int, tuple[int, int]]] = {
    LogoutReason.LOGOUT_CLOSES_SESSION: (LogoutCode.LOGOUT_SUCCEEDED, PduFlag.PDU_CLOSES),
    LogoutReason.LOGOUT_CLOSES_CONNECTION: (LogoutCode.LOGOUT_SUCCEEDED, PduFlag.PDU_CLOSES_ALONE),
    LogoutReason.LOGOUT_FOR_RECOVERY: (LogoutCode.LOGOUT_RECOVERY_NOT_SUPPORTED, 0),
}
"""By reason: the response, and what ends when it has been sent."""


class Requests:
    """Answers the PDUs of initiators that carry no SCSI command.

    Args:
        drains: makes a unit or a session stand still.
        end_sessions: drops sessions of which another one has reset the target (TARGET COLD RESET).
    """

    def __init__(self, drains: Drains, end_sessions: Callable[[Iterable[Session]], None]) -> None:
        self._management = Management(drains)
        self._end_sessions = end_sessions
        self._tasks: set[asyncio.Task[None]] = set()

    def request(self, session: Session, event: RequestEvent) -> None:
        """Text, Logout or task management."""
        opcode = header.opcode_of(event.header)
        if opcode == Opcode.TEXT_REQUEST:
            answer_later = self._exchange_text
        else:
            answer_later = self._log_out if opcode == Opcode.LOGOUT_REQUEST else self._manage
        task = asyncio.get_running_loop().create_task(answer_later(session, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _exchange_text(session: Session, event: RequestEvent) -> None:
        """RFC 7143 11.10; the requests of one connection are answered in the order in which they came."""
        connection = session.connections.get(event.connection)
        if connection is None:
            return
        exchange = connection.exchange
        async with connection.exchanging:
            before = exchange.max_send_data_segment
            answers = await exchange.receive(event.header, event.data)
            now = exchange.max_send_data_segment
        for answer in answers:
            session.reactor.send_pdu(
                session.id, answer, PduFlag.PDU_TAKES_STAT_SN, event.tag, now if now != before else 0
            )

    @staticmethod
    async def _log_out(session: Session, event: RequestEvent) -> None:
        """RFC 7143 11.14: reason 0 the session, 1 one connection, 2 for recovery, which level 0 hasn't."""
        request = header.LogoutRequest.read(event.header)
        response, flags = _LOGOUTS.get(request.reason, (LogoutCode.LOGOUT_CLEANUP_FAILED, 0))
        if request.reason == LogoutReason.LOGOUT_CLOSES_CONNECTION:
            connection = session.connection_of(request.cid)
            if connection is None:
                response, flags = LogoutCode.LOGOUT_CID_NOT_FOUND, 0
            elif connection.number != event.connection:  # another one: answered when it has ended
                session.reactor.close_connection(session.id, connection.number)
                await connection.closed.wait()
                flags = 0
        answer = header.pdu(header.LogoutResponse(itt=request.itt, response=response))
        session.reactor.send_pdu(session.id, answer, PduFlag.PDU_TAKES_STAT_SN | flags, event.tag)

    async def _manage(self, session: Session, event: RequestEvent) -> None:
        request = header.TaskManagementRequest.read(event.header)
        others = [each for each in session.neighbours() if each is not session]  # those that come later are not meant
        response = await self._management.carry_out(session, request, event.serial)
        answer = header.pdu(header.TaskManagementResponse(itt=request.itt, response=response))
        cold = request.function == TaskManagement.TARGET_COLD_RESET
        closes = cold and response == FunctionResponse.FUNCTION_COMPLETE
        session.reactor.send_pdu(
            session.id, answer, PduFlag.PDU_TAKES_STAT_SN | (PduFlag.PDU_CLOSES if closes else 0), event.tag
        )
        if closes:
            self._end_sessions(others)
