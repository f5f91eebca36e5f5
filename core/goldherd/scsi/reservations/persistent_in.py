"""PERSISTENT RESERVE IN: who is registered, who holds what, what is possible (SPC-4 6.15)."""

from goldherd.scsi.call import Call
from goldherd.scsi.reservations import transport_id
from goldherd.scsi.sam import relative_port
from goldherd.scsi.state.persistent import ALL_REGISTRANTS, Type

_SHORT = 0x10  # CRH
_SPEC_I_PT, _ALL_TG_PT, _PERSISTS = 0x08, 0x04, 0x01


def read_keys(call: Call) -> bytes:
    """READ KEYS."""
    state = call.unit.reservations
    keys = b"".join(key.to_bytes(8) for key in state.registrations.values())
    return state.generation.to_bytes(4) + len(keys).to_bytes(4) + keys


def read_reservation(call: Call) -> bytes:
    """READ RESERVATION: of the all-registrants types the key is 0."""
    state = call.unit.reservations
    if state.type is Type.NONE:
        return state.generation.to_bytes(4) + bytes(4)
    key = 0 if state.type in ALL_REGISTRANTS or state.holder is None else state.registrations[state.holder]
    return state.generation.to_bytes(4) + (16).to_bytes(4) + key.to_bytes(8) + bytes([0, 0, 0, 0, 0, state.type, 0, 0])


def report_capabilities(call: Call) -> bytes:
    """REPORT CAPABILITIES: every type; persistence through power loss where there is a place for it."""
    persists = call.unit.reservation_store is not None
    can = _SHORT | _SPEC_I_PT | _ALL_TG_PT | (_PERSISTS if persists else 0)
    does = 0x80 | (_PERSISTS if call.unit.reservations.aptpl else 0)  # TMV, PTPL_A
    return bytes([0x00, 0x08, can, does, 0xEA, 0x01, 0x00, 0x00])


def read_full_status(call: Call) -> bytes:
    """READ FULL STATUS: a descriptor with TransportID per registration."""
    state = call.unit.reservations
    data = b""
    for port, key in state.registrations.items():
        holds = state.is_holder(port)
        identifier = transport_id.encode(port[0])
        data += key.to_bytes(8) + bytes(4)
        data += bytes([0x01 if holds else 0x00, state.type if holds else 0x00]) + bytes(4)  # R_HOLDER
        data += relative_port(port).to_bytes(2) + len(identifier).to_bytes(4) + identifier
    return state.generation.to_bytes(4) + len(data).to_bytes(4) + data
