"""Where persistent reservations lie when they must survive power loss (SPC-4 5.13.5): one JSON file per unit.

    {"format": 1,
     "registrations": [
       {"initiator_port": "iqn...,i,0x0123...", "target_port": "iqn...,t,0x0001", "key": "<16 hex>"}],
     "reservation": {"type": 5, "initiator_port": "...", "target_port": "..."} or null}

The file is whole or not there: written beside, fsynced, renamed, and the folder fsynced. It exists exactly
while APTPL is active. PRGENERATION is not kept; it is 0 after power on.
"""

import json
import os
from pathlib import Path

from goldherd.errors import SettingsError
from goldherd.scsi.state.persistent import Reservations, Type

_FORMAT = 1


def save(path: Path, state: Reservations) -> None:
    """Puts the state on stable storage, or removes the file when APTPL is not active. Raises OSError."""
    if not state.aptpl:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with beside.open("w") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: Path) -> Reservations:
    """The state as it was before power went; an empty one when there is no file.

    Raises: SettingsError when the file is damaged: to start without the reservations could cost data.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Reservations()
    try:
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
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"The persistent reservations in {path} can't be read ({error}). Restore the file, or remove it "
            "to start without reservations when no cluster relies on them."
        ) from error
