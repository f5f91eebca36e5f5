"""PERSISTENT RESERVE OUT: registering, reserving, preempting (SPC-4 5.13 and 6.16).

Every service action is a function that changes a copy of the state and says who is to be told; `_commit`
puts the copy on stable storage if power loss must not undo it, then in place, then tells. So a failure
leaves the old state whole.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from goldherd import limits
from goldherd.errors import CommandError, Sense
from goldherd.scsi import sense as codes
from goldherd.scsi.call import Call, Reply
from goldherd.scsi.reservations import transport_id
from goldherd.scsi.sam import Port, Status
from goldherd.scsi.sense import invalid_field, invalid_parameter, list_too_short
from goldherd.scsi.state import aptpl
from goldherd.scsi.state.persistent import ALL_REGISTRANTS, REGISTRANTS_MAY, Reservations, Type

_LIST_BYTES = 24
_SPEC_I_PT, _ALL_TG_PT, _APTPL = 0x08, 0x04, 0x01
_UNREG = 0x02


class ConflictError(Exception):
    """The command ends with RESERVATION CONFLICT."""


@dataclass(slots=True)
class Change:
    """One service action at work."""

    call: Call
    state: Reservations
    """The copy that is being changed."""
    key: int
    """RESERVATION KEY."""
    action_key: int
    """SERVICE ACTION RESERVATION KEY."""
    told: list[tuple[Port, Sense]] = field(default_factory=list)
    """Unit attentions to establish."""
    aborted: list[Port] = field(default_factory=list)
    """Ports whose tasks are to be aborted."""
    removal_allowed: list[Port] = field(default_factory=list)
    """Ports that no longer prevent the removal of the medium (SPC-4 5.13.11.2.6 f, SBC-3 5.15)."""

    @property
    def port(self) -> Port:
        """The nexus that sent the command."""
        return self.call.nexus.port

    def check_key(self) -> None:
        """Only a registrant that names its own key may go on (SPC-4 5.13.6)."""
        if self.state.registrations.get(self.port) != self.key or self.port not in self.state.registrations:
            raise ConflictError

    def tell(self, ports: Iterable[Port], sense: Sense) -> None:
        """A unit attention for each of the ports but the sender's."""
        self.told += [(port, sense) for port in ports if port != self.port]

    def tell_released(self, ended: Type) -> None:
        """RESERVATIONS RELEASED for each registrant, under the types that give registrants access."""
        if ended in REGISTRANTS_MAY:
            self.tell(self.state.registrations, codes.RESERVATIONS_RELEASED)

    def reservation_type(self) -> Type:
        """TYPE of the CDB; the scope must be the logical unit."""
        if self.call.cdb[2] >> 4:
            raise invalid_field(2, "The only scope is the logical unit.", bit=7)
        try:
            wanted = Type(self.call.cdb[2] & 0x0F)
        except ValueError:
            wanted = Type.NONE
        if wanted is Type.NONE:
            raise invalid_field(2, "That is no type of persistent reservation.", bit=3)
        return wanted


def _action(function: Callable[[Change, bytes], None], *, lists: bool = False) -> Callable[[Call], Reply | None]:
    """The handler of a service action; `lists`: it takes parameter lists longer than the basic one."""

    def handle(call: Call) -> Reply | None:
        data = _checked_list(call, lists=lists)
        with call.unit.lock:
            if call.unit.reserved_by is not None and call.unit.reserved_by is not call.nexus:
                return Reply(Status.RESERVATION_CONFLICT)
            change = Change(call, call.unit.reservations.copy(), int.from_bytes(data[0:8]), int.from_bytes(data[8:16]))
            try:
                function(change, data)
            except ConflictError:
                return Reply(Status.RESERVATION_CONFLICT)
            return _commit(change)

    return handle


def _checked_list(call: Call, *, lists: bool) -> bytes:
    """SPC-4 6.16.3: exactly 24 bytes but for SPEC_I_PT and REGISTER AND MOVE."""
    length = call.list_bytes
    data = call.data_out[:length]
    if length < _LIST_BYTES or length > limits.PARAMETER_LIST_BYTES_MAX or len(data) < length:
        raise list_too_short("The parameter list of PERSISTENT RESERVE OUT has a wrong length.")
    if length != _LIST_BYTES and not lists and not data[20] & _SPEC_I_PT:
        raise list_too_short("The parameter list of PERSISTENT RESERVE OUT must have 24 bytes.")
    return data


def _commit(change: Change) -> Reply:
    unit = change.call.unit
    if change.state == unit.reservations:
        return Reply()
    if unit.reservation_store is not None and (change.state.aptpl or unit.reservations.aptpl):
        try:
            aptpl.save(unit.reservation_store, change.state)
        except OSError as error:
            structlog.get_logger("goldherd.scsi").error(
                "could not keep persistent reservations", path=str(unit.reservation_store), reason=str(error)
            )
            raise CommandError(
                "The reservation could not be put on stable storage.",
                sense=codes.INSUFFICIENT_REGISTRATION_RESOURCES,
            ) from error
    unit.reservations = change.state
    for port, sense in change.told:
        for nexus in unit.at_port(port):
            nexus.attend(sense)
    aborts = tuple(nexus for port in change.aborted for nexus in unit.at_port(port))
    for port in change.removal_allowed:
        for nexus in unit.at_port(port):
            nexus.prevents_removal = False
    unit.changed()
    return Reply(aborts=aborts)


# --- registering ---


def _register(change: Change, data: bytes) -> None:
    """REGISTER."""
    registered = change.port in change.state.registrations
    if registered:
        change.check_key()
        if data[20] & _SPEC_I_PT:
            raise invalid_parameter(20, "SPEC_I_PT is for the first registration.", bit=3)
    elif change.key:
        raise ConflictError
    _set_registration(change, data)


def _register_and_ignore(change: Change, data: bytes) -> None:
    """REGISTER AND IGNORE EXISTING KEY."""
    if data[20] & _SPEC_I_PT:
        raise invalid_field(1, "SPEC_I_PT goes with REGISTER only.")
    _set_registration(change, data)


def _set_registration(change: Change, data: bytes) -> None:
    state = change.state
    ports = [change.port, *_listed_ports(change, data)] if data[20] & _SPEC_I_PT else [change.port]
    if data[20] & _ALL_TG_PT:
        ports = _on_all_target_ports(change, ports)
    if change.action_key == 0:
        ended, released = state.type, False
        registered = [port for port in ports if port in state.registrations]
        if not registered:
            return
        for port in registered:
            released = state.unregister(port) or released
        if released:
            change.tell_released(ended)
    else:
        for port in ports:
            state.registrations[port] = change.action_key
        if len(state.registrations) > limits.REGISTRATIONS_MAX:
            raise CommandError("The table of registrations is full.", sense=codes.INSUFFICIENT_REGISTRATION_RESOURCES)
    _set_aptpl(change, bool(data[20] & _APTPL), 20)
    state.count_generation()


def _on_all_target_ports(change: Change, ports: Iterable[Port]) -> list[Port]:
    """ALL_TG_PT (SPC-4 6.16.3): the same initiator ports, through every port of the target."""
    target = change.call.unit.target
    names = [target.port_name(tag) for tag in target.portal_group_tags]
    return list(dict.fromkeys((initiator, name) for initiator, _ in ports for name in names))


def _set_aptpl(change: Change, wanted: bool, at: int) -> None:
    if wanted and change.call.unit.reservation_store is None:
        raise invalid_parameter(at, "This unit can't keep reservations through power loss.", bit=0)
    change.state.aptpl = wanted


def _listed_ports(change: Change, data: bytes) -> list[Port]:
    """The ports of SPEC_I_PT (SPC-4 6.16.3); a name without ISID means all its ports that are logged in."""
    if len(data) < _LIST_BYTES + 4:
        raise list_too_short("The list of TransportIDs is missing.")
    end = _LIST_BYTES + 4 + int.from_bytes(data[24:28])
    if end != len(data):
        raise list_too_short("The list of TransportIDs has another length than it says.")
    ports: list[Port] = []
    at = _LIST_BYTES + 4
    while at < end:
        name, has_isid, length = transport_id.decode(data, at)
        nexuses = change.call.unit.nexuses
        found = [(name, change.port[1])] if has_isid else [x.port for x in nexuses if x.initiator_name == name]
        if not found:
            raise invalid_parameter(at, "No port of that initiator is known.")
        ports += found
        at += length
    if any(port in change.state.registrations for port in ports):
        raise ConflictError
    return ports


# --- reserving ---


def _reserve(change: Change, data: bytes) -> None:  # noqa: ARG001 - the signature of all actions
    """RESERVE."""
    wanted = change.reservation_type()
    change.check_key()
    state = change.state
    if state.type is Type.NONE:
        state.type, state.holder = wanted, change.port
    elif not state.is_holder(change.port) or state.type is not wanted:
        raise ConflictError


def _release(change: Change, data: bytes) -> None:  # noqa: ARG001
    """RELEASE."""
    change.check_key()
    state = change.state
    if not state.is_holder(change.port):
        return
    if change.call.cdb[2] != state.type:
        raise CommandError("The reservation has another type.", sense=codes.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
    ended = state.type
    state.end_reservation()
    change.tell_released(ended)


def _clear(change: Change, data: bytes) -> None:  # noqa: ARG001
    """CLEAR."""
    change.check_key()
    change.tell(change.state.registrations, codes.RESERVATIONS_PREEMPTED)
    change.removal_allowed = list(change.state.registrations)
    change.state.registrations.clear()
    change.state.end_reservation()
    change.state.count_generation()


# --- preempting ---


def _preempt(change: Change, data: bytes) -> None:  # noqa: ARG001
    """PREEMPT (SPC-4 5.13.11.2): takes the reservation if the key is its holder's, and the registrations."""
    change.check_key()
    state = change.state
    everyone = state.type in ALL_REGISTRANTS
    if change.action_key == 0 and not everyone:
        raise invalid_parameter(8, "A key of 0 preempts only reservations of all registrants.")
    takes_over = state.type is not Type.NONE and (
        change.action_key == 0 if everyone else state.registrations.get(state.holder or ("", "")) == change.action_key
    )
    removed = [
        port for port, key in state.registrations.items() if port != change.port and change.action_key in (0, key)
    ]
    if not removed and change.action_key not in (0, *state.registrations.values()):
        raise ConflictError
    ended = state.type
    wanted = change.reservation_type() if takes_over else Type.NONE
    for port in removed:
        del state.registrations[port]
    if takes_over:
        state.type, state.holder = wanted, change.port
        if wanted is not ended:
            change.tell_released(ended)
    elif everyone and state.holder not in state.registrations:
        state.holder = change.port
    change.tell(removed, codes.REGISTRATIONS_PREEMPTED)
    change.aborted = change.removal_allowed = removed
    state.count_generation()


def _preempt_without_abort(change: Change, data: bytes) -> None:
    _preempt(change, data)
    change.aborted = change.removal_allowed = []


# --- moving ---


def _register_and_move(change: Change, data: bytes) -> None:
    """REGISTER AND MOVE (SPC-4 5.13.8): the reservation goes to a port that need not be logged in."""
    state = change.state
    change.check_key()
    if state.type is Type.NONE:
        raise invalid_field(1, "There is no reservation to move.")
    if not state.is_holder(change.port) or state.type in ALL_REGISTRANTS:
        raise ConflictError
    if change.action_key == 0:
        raise invalid_parameter(8, "The key of the new holder can't be 0.")
    target, relative = change.call.unit.target, int.from_bytes(data[18:20])
    if relative not in target.portal_group_tags:
        raise invalid_parameter(18, "There is no such relative target port.")
    if int.from_bytes(data[20:24]) != len(data) - _LIST_BYTES:
        raise list_too_short("The TransportID has another length than it says.")
    name, has_isid, _ = transport_id.decode(data, _LIST_BYTES)
    destination = (name, target.port_name(relative))
    if not has_isid or destination == change.port:
        raise invalid_parameter(_LIST_BYTES, "The reservation must move to another I_T nexus.")
    state.registrations[destination] = change.action_key
    state.holder = destination
    if data[17] & _UNREG:
        del state.registrations[change.port]
    if len(state.registrations) > limits.REGISTRATIONS_MAX:
        raise CommandError("The table of registrations is full.", sense=codes.INSUFFICIENT_REGISTRATION_RESOURCES)
    _set_aptpl(change, bool(data[17] & _APTPL), 17)
    state.count_generation()


register = _action(_register)
reserve = _action(_reserve)
release = _action(_release)
clear = _action(_clear)
preempt = _action(_preempt_without_abort)
preempt_and_abort = _action(_preempt)
register_and_ignore = _action(_register_and_ignore)
register_and_move = _action(_register_and_move, lists=True)
