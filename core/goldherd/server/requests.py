"""Answers the PDUs that reactors hand over and that are no SCSI commands: Text, Logout (RFC 7143 11.10, 11.14).

Task management is in management.py.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from goldherd.reactor.outbox import RequestLetter
from goldherd.server.fences import Fences
from goldherd.server.management import COLD_RESET, COMPLETE, Management
from goldherd.server.sessions import Session
from goldherd.wire import header
from goldherd.wire.opcodes import Opcode

TAKES_STAT_SN: Final = 1
CLOSES: Final = 2
"""What send_pdu is told about a PDU; PduFlag in reactor/core.pxd."""


class Requests:
    """The PDUs of the initiators that are no SCSI commands.

    Args:
        fences: to make a unit or a session stand still.
        close_target: ends all sessions of a session's target (TARGET COLD RESET).
    """

    def __init__(self, fences: Fences, close_target: Callable[[Session], None]) -> None:
        self._management = Management(fences)
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

    async def _manage(self, session: Session, letter: RequestLetter) -> None:
        request = header.TaskManagementRequest.read(letter.header)
        response = await self._management.carry_out(session, request, letter.serial)
        answer = header.pdu(header.TaskManagementResponse(itt=request.itt, response=response))
        closes = request.flags & 0x7F == COLD_RESET and response == COMPLETE
        session.reactor.send_pdu(session.token, answer, TAKES_STAT_SN | (CLOSES if closes else 0), letter.tag)
        if closes:
            self._close_target(session)
