"""Task management functions (RFC 7143 11.5): ends tasks in reactors and in Python, then tells the SCSI side.

A function is answered when nothing of the tasks it ended can reach a disk any more (4.2.3.4), or "function rejected"
when that takes too long: an initiator that waits for its answer can't go on to something stronger.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, NamedTuple

import structlog

from goldherd import limits
from goldherd.reactor.epoll import Reactor
from goldherd.scsi import task_management
from goldherd.target.commands.drains import Drains
from goldherd.target.sessions import LunNexus, OpenUnit, Running, Session
from goldherd.wire.header import TaskManagementRequest
from goldherd.wire.opcodes import FunctionResponse, TaskManagement

log = structlog.get_logger("goldherd.management")


class Order(NamedTuple):
    """One request on its way."""

    session: Session
    lun_nexus: LunNexus
    request: TaskManagementRequest
    serial: int
    """Tasks up to this one came before the request; later ones are not meant (RFC 7143 4.2.3.4)."""


class Management:
    """Carries task management functions out.

    Args:
        drains: how reactors are asked to end tasks.
    """

    def __init__(self, drains: Drains) -> None:
        self._drains = drains

    async def carry_out(self, session: Session, request: TaskManagementRequest, serial: int) -> int:
        """The response to one request."""
        function = request.function
        handler = _FUNCTIONS.get(function)
        if handler is None:
            return _REFUSED.get(function, FunctionResponse.FUNCTION_NOT_SUPPORTED)
        lun = request.lun if function not in _WHOLE_TARGET else min(session.luns, default=0) << 48
        lun_nexus = _nexus_of(session, lun)
        if lun_nexus is None:
            return FunctionResponse.LUN_DOES_NOT_EXIST
        try:
            async with asyncio.timeout(limits.TASK_MANAGEMENT_SECONDS):
                return await handler(self, Order(session, lun_nexus, request, serial))
        except TimeoutError:  # the initiator goes on to something stronger, and at last to a new session
            log.warning("tasks do not end: their disk hangs", function=function, target=session.target)
            return FunctionResponse.FUNCTION_REJECTED
        except Exception:
            log.exception("task management failed", function=function)
            return FunctionResponse.FUNCTION_REJECTED

    async def _abort_task(self, order: Order) -> int:
        """A task that has not come yet, but still could, counts as ended: its number is skipped (RFC 7143 11.5.1)."""
        session, request = order.session, order.request
        tag = int.from_bytes(request.referenced_tag.to_bytes(4), "little")  # as the reactor keeps it
        running = session.running.get(tag)
        found = await self._end(
            [running] if running else [],
            lambda request_id: session.reactor.abort_task(
                request_id, session.id, tag, request.ref_cmd_sn, request.cmd_sn
            ),
        )
        return FunctionResponse.FUNCTION_COMPLETE if found else FunctionResponse.TASK_DOES_NOT_EXIST

    async def _abort_task_set(self, order: Order) -> int:
        session, hot, before = order.session, order.lun_nexus.open_unit.hot, order.request.cmd_sn
        await self._end(
            _running(session, order.lun_nexus.open_unit),
            lambda request_id: session.reactor.abort_session_tasks(request_id, session.id, hot, order.serial, before),
        )
        return FunctionResponse.FUNCTION_COMPLETE

    async def _clear_task_set(self, order: Order) -> int:
        await self._empty(order.session, order.lun_nexus)
        task_management.clear_task_set(order.lun_nexus.open_unit.unit, order.lun_nexus.nexus)
        return FunctionResponse.FUNCTION_COMPLETE

    async def _unit_reset(self, order: Order) -> int:
        await self._empty(order.session, order.lun_nexus)
        task_management.logical_unit_reset(order.lun_nexus.open_unit.unit, order.lun_nexus.nexus)
        return FunctionResponse.FUNCTION_COMPLETE

    async def _target_reset(self, order: Order) -> int:
        for lun_nexus in order.session.luns.values():
            await self._empty(order.session, lun_nexus)
        task_management.target_reset(order.lun_nexus.open_unit.unit.target)
        return FunctionResponse.FUNCTION_COMPLETE

    async def _empty(self, session: Session, lun_nexus: LunNexus) -> None:
        """Ends all tasks of all sessions on the unit."""
        open_unit = lun_nexus.open_unit
        running = [each for other in session.neighbours() for each in _running(other, open_unit)]
        await asyncio.gather(
            *(self._end([], partial(_abort_on, reactor, open_unit)) for reactor in self._drains.reactors),
            self._wait(running),
        )

    async def _end(self, running: Iterable[Running], what: Callable[[int], None]) -> int:
        """Ends tasks of one reactor, and waits for those that Python carries out; how many there were."""
        waiting = asyncio.ensure_future(self._wait(running))
        found = await self._drains.ask(what)
        await waiting
        return found

    @staticmethod
    async def _wait(running: Iterable[Running]) -> None:
        tasks = [each.task for each in running]
        for each in running:
            each.abort()
        if tasks:
            await asyncio.wait(tasks)


def _abort_on(reactor: Reactor, open_unit: OpenUnit, request_id: int) -> None:
    reactor.abort_unit_tasks(request_id, open_unit.hot)


def _running(session: Session, open_unit: OpenUnit) -> list[Running]:
    return [each for each in session.running.values() if each.open_unit is open_unit]


def _nexus_of(session: Session, lun: int) -> LunNexus | None:
    """Single-level LUNs: peripheral or flat (SAM-5 4.7)."""
    first = lun >> 48
    return None if lun & (1 << 48) - 1 else session.luns.get(first & 0x3FFF if first >> 14 == 1 else first)


_Handler = Callable[[Management, Order], Awaitable[int]]
_FUNCTIONS: Final[dict[int, _Handler]] = {
    TaskManagement.ABORT_TASK: Management._abort_task,
    TaskManagement.ABORT_TASK_SET: Management._abort_task_set,
    TaskManagement.CLEAR_TASK_SET: Management._clear_task_set,
    TaskManagement.LOGICAL_UNIT_RESET: Management._unit_reset,
    TaskManagement.TARGET_WARM_RESET: Management._target_reset,
    TaskManagement.TARGET_COLD_RESET: Management._target_reset,
}
_REFUSED: Final[dict[int, int]] = {TaskManagement.TASK_REASSIGN: FunctionResponse.REASSIGNMENT_NOT_SUPPORTED}
"""CLEAR ACA and the queries of RFC 7144 are functions that are not supported."""
_WHOLE_TARGET: Final = (TaskManagement.TARGET_WARM_RESET, TaskManagement.TARGET_COLD_RESET)
"""Functions whose LUN field says nothing."""
