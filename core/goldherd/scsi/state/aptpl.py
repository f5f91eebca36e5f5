"""The record of persistent reservations that must survive power loss (SPC-4 5.13.5): one JSON text per unit.

    {"format": 1,
     "registrations": [
       {"initiator_port": "iqn...,i,0x0123...", "target_port": "iqn...,t,0x0001", "key": "<16 hex>"}],
     "reservation": {"type": 5, "initiator_port": "...", "target_port": "..."} or null}

The record exists exactly while APTPL is active. PRGENERATION is not kept, because it is 0 after power on. Knows no
file: the unit is given a store.
"""

import json
from typing import Protocol

from goldherd.errors import SettingsError
from goldherd.scsi.state.persistent import Reservations, Type

_FORMAT = 1


class Store(Protocol):
    """The place of one unit's record on stable storage; its str() is what a message calls it."""

    def load(self) -> bytes | None:
        """The record; None when there is none. Raises OSError."""
        ...

    def save(self, content: bytes) -> None:
        """Replaces the record as a whole, on stable storage when it returns. Raises OSError."""
        ...

    def remove(self) -> None:
        """Removes the record, durably, if there is one. Raises OSError."""
        ...


def save(store: Store, state: Reservations) -> None:
    """Puts the state on stable storage, or removes the record when APTPL is not active. Raises OSError."""
    if not state.aptpl:
        store.remove()
        return
    reservation = None
    if state.holder is not None:
        reservation = {
            "type": int(state.type),
            "initiator_port": state.holder[0],
            "target_port": state.holder[1],
        }
    registrations = [
        {"initiator_port": initiator, "target_port": target, "key": f"{key:016x}"}
        for (initiator, target), key in state.registrations.items()
    ]
    record = {"format": _FORMAT, "registrations": registrations, "reservation": reservation}
    store.save(json.dumps(record, indent=1).encode())


def load(store: Store | None) -> Reservations:
    """The state as it was before power went; an empty one without a store or a record.

    Raises: SettingsError when the record is damaged: to start without the reservations could cost data.
    """
    record = None if store is None else store.load()
    if record is None:
        return Reservations()
    try:
        return _decoded(record)
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"The persistent reservations in {store} can't be read ({error}). Restore the file, or remove it "
            "to start without reservations when no cluster relies on them."
        ) from error


def _decoded(text: bytes) -> Reservations:
    record = json.loads(text)
    if record["format"] != _FORMAT:
        raise ValueError(f"format {record['format']}")
    registrations = {
        (str(entry["initiator_port"]), str(entry["target_port"])): int(entry["key"], 16)
        for entry in record["registrations"]
    }
    state = Reservations(registrations, aptpl=True)
    if record["reservation"] is not None:
        entry = record["reservation"]
        state.type = Type(entry["type"])
        state.holder = str(entry["initiator_port"]), str(entry["target_port"])
        if state.holder not in registrations:
            raise ValueError("the holder of the reservation is not registered")
    return state
