"""What the control plane knows of sessions and disks, as records, and from records."""

from collections.abc import Mapping
from dataclasses import replace

from goldherd.errors import Sense
from goldherd.model.handover import (
    MovedClosed,
    MovedCopy,
    MovedCopyResult,
    MovedLogin,
    MovedMember,
    MovedNexus,
    MovedNumbers,
    MovedReservations,
    MovedRod,
    MovedRods,
    MovedSession,
    MovedTarget,
    MovedUnit,
)
from goldherd.model.targets import TargetConfig
from goldherd.negotiation.host import LoginResult
from goldherd.negotiation.states import SessionAction
from goldherd.scsi.state.copy_operations import CopyOperation, Progress
from goldherd.scsi.state.device import LogicalUnit, PersistentState
from goldherd.scsi.state.nexus import CopyResult, Nexus
from goldherd.scsi.state.persistent import Reservations, Type
from goldherd.scsi.state.rods import KnownRod, RodsState
from goldherd.target.sessions import Connection, LunNexus, OpenTarget, Session

# --- targets ---


def target_record(target: OpenTarget) -> MovedTarget:
    """An open target with its units and tokens."""
    config = target.config
    units = tuple(_unit_record(lun, unit.unit) for lun, unit in target.units.items())
    rods = target.target.rods.state()
    return MovedTarget(
        name=config.name,
        node=config.node,
        luns=tuple(replace(lun, create=False) for lun in config.luns),
        units=units,
        rods=MovedRods(
            key=rods.key,
            rods=tuple(MovedRod(**rod._asdict()) for rod in rods.rods),
            gone=tuple((identifier, sense[:3]) for identifier, sense in rods.gone),
        ),
    )


def restore_target(target: OpenTarget, record: MovedTarget) -> None:
    """Goes on with the units and tokens of a record; the target has just been opened, and no session uses it."""
    for each in record.units:
        open_unit = target.units.get(each.lun)
        if open_unit is None:
            continue
        unit = open_unit.unit
        unit.take_over(_persistent_state(each.reservations))
        for code, subpage, values in each.mode_pages:
            page = unit.mode.values.get((code, subpage))
            if page is not None and len(page) == len(values):
                unit.mode.values[code, subpage] = values
        unit.clock_shift = each.clock_shift
        unit.medium.ejected = each.ejected
        unit.medium.sanitize_failed = each.sanitize_failed
    if record.rods is not None:
        rods = tuple(
            KnownRod(
                rod.identifier,
                rod.lun,
                rod.ranges,
                rod.creator,
                rod.timeout_seconds,
                rod.ends_at,
                rod.idle_from,
                rod.token,
            )
            for rod in record.rods.rods
        )
        gone = tuple((identifier, Sense(*sense)) for identifier, sense in record.rods.gone)
        origins = {lun: unit.unit.rod_origin for lun, unit in target.units.items()}
        target.target.rods.restore(RodsState(record.rods.key, rods, gone), origins)
    for unit_ in target.units.values():
        with unit_.unit.lock:
            unit_.unit.changed()


def _unit_record(lun: int, unit: LogicalUnit) -> MovedUnit:
    return MovedUnit(
        lun=lun,
        reservations=reservations_record(unit.persistent_state),
        mode_pages=tuple((code, subpage, values) for (code, subpage), values in unit.mode.values.items()),
        clock_shift=unit.clock_shift,
        ejected=unit.medium.ejected,
        sanitize_failed=unit.medium.sanitize_failed,
    )


def reservations_record(state: PersistentState) -> MovedReservations:
    """The persistent reservations of a unit, and the ports that it has met."""
    reservations, known_ports = state
    return MovedReservations(
        registrations=tuple(reservations.registrations.items()),
        type=int(reservations.type),
        holder=reservations.holder,
        generation=reservations.generation,
        aptpl=reservations.aptpl,
        known_ports=tuple(known_ports),
    )


def closed_records(remembered: Mapping[tuple[str, int], PersistentState]) -> tuple[MovedClosed, ...]:
    """What is remembered of units that are closed."""
    return tuple(
        MovedClosed(target=target, lun=lun, reservations=reservations_record(state))
        for (target, lun), state in remembered.items()
    )


def restore_closed(records: tuple[MovedClosed, ...]) -> dict[tuple[str, int], PersistentState]:
    """The same, of records."""
    return {(each.target, each.lun): _persistent_state(each.reservations) for each in records}


def _persistent_state(record: MovedReservations) -> PersistentState:
    reservations = Reservations(
        dict(record.registrations), Type(record.type), record.holder, record.generation, record.aptpl
    )
    return PersistentState.of(reservations, record.known_ports)


# --- sessions ---


def session_record(session: Session, numbers: MovedNumbers, sockets: Mapping[int, int]) -> MovedSession:
    """A session; `sockets`: which of the descriptors that go along is that of the connection of that number."""
    return MovedSession(
        target=session.login.target,
        login=_login_record(session.login),
        members=tuple(
            _member_record(connection, sockets[number])
            for number, connection in session.connections.items()
            if number in sockets
        ),
        next_number=session.next_number,
        nexuses=tuple(_nexus_record(lun, lun_nexus) for lun, lun_nexus in session.luns.items()),
        numbers=numbers,
    )


def _login_record(login: LoginResult) -> MovedLogin:
    return MovedLogin(
        initiator=login.initiator,
        initiator_alias=login.initiator_alias,
        isid=login.isid,
        tsih=login.tsih,
        cid=login.cid,
        cmd_sn=login.cmd_sn,
        max_cmd_sn=login.max_cmd_sn,
        stat_sn=login.stat_sn,
        parameters=login.parameters,
        authenticated=login.authenticated,
        address=login.address,
        portal=login.portal,
        portal_group=login.portal_group,
    )


def login_of(record: MovedLogin, config: TargetConfig | None) -> LoginResult:
    """The login of a record."""
    return LoginResult(
        initiator=record.initiator,
        initiator_alias=record.initiator_alias,
        config=config,
        isid=record.isid,
        tsih=record.tsih,
        cid=record.cid,
        action=SessionAction.NEW,
        replaces=None,
        cmd_sn=record.cmd_sn,
        max_cmd_sn=record.max_cmd_sn,
        stat_sn=record.stat_sn,
        parameters=record.parameters,
        authenticated=record.authenticated,
        address=record.address,
        portal=record.portal,
        portal_group=record.portal_group,
    )


def _member_record(connection: Connection, socket: int) -> MovedMember:
    return MovedMember(
        number=connection.number,
        login=_login_record(connection.login),
        portal=connection.portal,
        max_send_data_segment=connection.exchange.max_send_data_segment,
        text=connection.exchange.state(),
        socket=socket,
    )


def _nexus_record(lun: int, lun_nexus: LunNexus) -> MovedNexus:
    nexus = lun_nexus.nexus
    return MovedNexus(
        lun=lun,
        attentions=tuple(sense[:3] for sense in nexus.attentions),
        prevents_removal=nexus.prevents_removal,
        reserves=lun_nexus.open_unit.unit.reserved_by is nexus,
        copy_results=tuple(
            MovedCopyResult(
                list_identifier=key, segments=result.segments, copied_bytes=result.copied_bytes, sense=result.sense
            )
            for key, result in nexus.copy_results.items()
        ),
        copies=tuple(
            MovedCopy(
                list_identifier=key,
                action=operation.action,
                progress=int(operation.progress),
                transferred_blocks=operation.transferred_blocks,
                steps=operation.steps,
                sense=operation.sense[:3],
                token=operation.token,
            )
            for key, operation in nexus.operations.items()
            if not operation.running
        ),
    )


def restore_nexus(nexus: Nexus, unit: LogicalUnit, record: MovedNexus) -> None:
    """Joins a nexus to its unit again, with the conditions that wait for it."""
    unit.attach_again(nexus, [Sense(*sense) for sense in record.attentions], reserves=record.reserves)
    nexus.prevents_removal = record.prevents_removal
    for result in record.copy_results:
        nexus.copy_results[result.list_identifier] = CopyResult(result.segments, result.copied_bytes, result.sense)
    for copy in record.copies:
        operation = CopyOperation(
            copy.action,
            transferred_blocks=copy.transferred_blocks,
            steps=copy.steps,
            token=copy.token,
        )
        operation.end(Progress(copy.progress), Sense(*copy.sense))
        nexus.operations[copy.list_identifier] = operation
