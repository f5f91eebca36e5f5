"""PERSISTENT RESERVE IN and OUT."""

import pytest
from goldherd import limits
from goldherd.scsi.fastpath.unit import NexusFlag
from goldherd.scsi.reservations import transport_id
from goldherd.scsi.sam import Status

from tests.scsi.conftest import Initiator

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, IGNORE, MOVE = range(8)
WE, EA, WE_RO, EA_RO, WE_AR, EA_AR = 1, 3, 5, 6, 7, 8
TYPES = [WE, EA, WE_RO, EA_RO, WE_AR, EA_AR]
SPEC_I_PT, ALL_TG_PT, APTPL = 0x08, 0x04, 0x01
READ = "28 00 00000000 00 0001 00"
WRITE = "2a 00 00000000 00 0000 00"
MODE_SENSE = "1a 00 3f 00 ff 00"


def out(
    action: int, key: int, action_key: int = 0, type_: int = 0, flags: int = 0, more: bytes = b""
) -> tuple[str, bytes]:
    """CDB and parameter list of PERSISTENT RESERVE OUT."""
    data = key.to_bytes(8) + action_key.to_bytes(8) + bytes([0, 0, 0, 0, flags, 0, 0, 0]) + more
    return f"5f {action:02x} {type_:02x} 00 00 {len(data):08x} 00", data


def register(initiator: Initiator, key: int) -> None:
    initiator.good(*out(REGISTER, 0, key))


def holds(initiator: Initiator, key: int, type_: int) -> None:
    """Registers and reserves."""
    register(initiator, key)
    initiator.good(*out(RESERVE, key, 0, type_))


def keys(initiator: Initiator) -> tuple[int, list[int]]:
    """READ KEYS: generation and keys."""
    data = initiator.good("5e 00 00 00000000 ffff 00")
    assert int.from_bytes(data[4:8]) == len(data) - 8
    return int.from_bytes(data[0:4]), [int.from_bytes(data[at : at + 8]) for at in range(8, len(data), 8)]


def reservation(initiator: Initiator) -> tuple[int, int] | None:
    """READ RESERVATION: key and type, or None."""
    data = initiator.good("5e 01 00 00000000 ffff 00")
    return (int.from_bytes(data[8:16]), data[21]) if int.from_bytes(data[4:8]) else None


# --- REGISTER ---


def test_register_change_unregister(a) -> None:
    register(a, 1)
    assert keys(a) == (1, [1])
    a.good(*out(REGISTER, 1, 2))
    assert keys(a) == (2, [2])
    a.good(*out(REGISTER, 2, 0))
    assert keys(a) == (3, [])


def test_register_with_a_key_that_is_not_ours(a) -> None:
    assert a.conflicts(*out(REGISTER, 5, 1))
    register(a, 1)
    assert a.conflicts(*out(REGISTER, 2, 3))
    assert keys(a) == (1, [1])


def test_unregistering_the_unregistered_is_nothing(a) -> None:
    a.good(*out(REGISTER, 0, 0))
    a.good(*out(IGNORE, 7, 0))
    assert keys(a) == (0, [])


def test_register_and_ignore_existing_key(a) -> None:
    a.good(*out(IGNORE, 99, 1))
    a.good(*out(IGNORE, 99, 2))
    assert keys(a) == (2, [2])
    assert a.sense(*out(IGNORE, 0, 1, flags=SPEC_I_PT, more=bytes(4))) == "05/24/00"


def test_registration_outlives_the_session(unit, a, b) -> None:
    holds(a, 1, EA)
    a.logout()
    assert b.conflicts(READ)
    again = Initiator(unit, "a").login()
    assert not again.conflicts(READ)


def test_all_target_ports(a) -> None:
    a.good(*out(REGISTER, 0, 1, flags=ALL_TG_PT))
    assert keys(a) == (1, [1])


def test_too_many_registrations(a, b, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGISTRATIONS_MAX", 1)
    register(a, 1)
    assert b.sense(*out(REGISTER, 0, 2)) == "05/55/04"
    assert keys(a) == (1, [1])


def test_registering_other_ports(unit, a, b, c) -> None:
    names = [transport_id.encode(b.nexus.initiator_port), transport_id.encode("iqn.absent,i,0x000000000001")]
    more = sum(map(len, names)).to_bytes(4) + b"".join(names)
    a.good(*out(REGISTER, 0, 1, flags=SPEC_I_PT, more=more))
    assert keys(a) == (1, [1, 1, 1])
    assert {port for port, _ in unit.reservations.registrations} == {
        a.nexus.initiator_port,
        b.nexus.initiator_port,
        "iqn.absent,i,0x000000000001",
    }


def test_registering_all_ports_of_a_name(a, b) -> None:
    name = b.nexus.initiator_name.encode() + b"\x00"
    name += bytes(-len(name) % 4)
    identifier = bytes([0x05, 0]) + len(name).to_bytes(2) + name
    a.good(*out(REGISTER, 0, 1, flags=SPEC_I_PT, more=len(identifier).to_bytes(4) + identifier))
    assert not b.conflicts(*out(RESERVE, 1, 0, WE))


@pytest.mark.parametrize(
    ("more", "sense"),
    [
        (b"", "05/1a/00"),
        ((8).to_bytes(4) + bytes(4), "05/1a/00"),
        ((4).to_bytes(4) + bytes(4), "05/26/00"),
        ((24).to_bytes(4) + bytes([0x05, 0, 0, 20]) + b"iqn.nobody".ljust(20, b"\x00"), "05/26/00"),
    ],
)
def test_wrong_transport_ids(a, more: bytes, sense: str) -> None:
    assert a.sense(*out(REGISTER, 0, 1, flags=SPEC_I_PT, more=more)) == sense
    assert keys(a) == (0, [])


@pytest.mark.parametrize(("length", "came"), [(23, 24), (25, 25), (24, 16), (0, 0)])
def test_parameter_list_length(a, length: int, came: int) -> None:
    assert a.sense(f"5f 00 00 00 00 {length:08x} 00", bytes(came)) == "05/1a/00"


# --- RESERVE, RELEASE ---


@pytest.mark.parametrize("type_", TYPES)
def test_reserve_read_release(a, type_: int) -> None:
    holds(a, 1, type_)
    assert reservation(a) == (0 if type_ in (WE_AR, EA_AR) else 1, type_)
    a.good(*out(RESERVE, 1, 0, type_))
    a.good(*out(RELEASE, 1, 0, type_))
    assert reservation(a) is None
    assert keys(a) == (1, [1])


def test_reserve_without_registration_or_with_a_wrong_key(a) -> None:
    assert a.conflicts(*out(RESERVE, 0, 0, WE))
    register(a, 1)
    assert a.conflicts(*out(RESERVE, 2, 0, WE))


def test_reserve_with_another_type_or_by_another(a, b) -> None:
    holds(a, 1, WE)
    register(b, 2)
    assert a.conflicts(*out(RESERVE, 1, 0, EA))
    assert b.conflicts(*out(RESERVE, 2, 0, WE))


@pytest.mark.parametrize("type_", [0, 2, 4, 9, 0x11, 0x25])
def test_wrong_type_or_scope(a, type_: int) -> None:
    register(a, 1)
    assert a.sense(*out(RESERVE, 1, 0, type_)) == "05/24/00"


def test_release_of_another_type(a) -> None:
    holds(a, 1, WE)
    assert a.sense(*out(RELEASE, 1, 0, EA)) == "05/26/04"


def test_release_by_another_or_of_nothing_is_good(a, b) -> None:
    register(b, 2)
    b.good(*out(RELEASE, 2, 0, WE))
    holds(a, 1, WE)
    b.good(*out(RELEASE, 2, 0, WE))
    assert reservation(a) == (1, WE)
    assert b.conflicts(*out(RELEASE, 9, 0, WE))


@pytest.mark.parametrize("type_", TYPES)
def test_release_tells_registrants_of_shared_types(a, b, c, type_: int) -> None:
    holds(a, 1, type_)
    register(b, 2)
    a.good(*out(RELEASE, 1, 0, type_))
    assert b.attention() == ("06/2a/04" if type_ >= WE_RO else "")
    assert (a.attention(), c.attention()) == ("", "")


@pytest.mark.parametrize("type_", TYPES)
def test_holder_that_unregisters(a, b, type_: int) -> None:
    holds(a, 1, type_)
    register(b, 2)
    a.good(*out(REGISTER, 1, 0))
    assert b.attention() == ("06/2a/04" if type_ in (WE_RO, EA_RO) else "")
    assert reservation(b) == ((0, type_) if type_ in (WE_AR, EA_AR) else None)


def test_all_registrants_types_end_with_the_last(a, b) -> None:
    holds(a, 1, EA_AR)
    register(b, 2)
    a.good(*out(REGISTER, 1, 0))
    b.good(*out(REGISTER, 2, 0))
    assert reservation(a) is None


# --- who may what: rows of the conflict table ---


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("registered", [False, True])
def test_conflicts(unit, a, b, type_: int, registered: bool) -> None:
    holds(a, 1, type_)
    if registered:
        register(b, 2)
    shared = registered and type_ >= WE_RO
    exclusive = type_ in (EA, EA_RO, EA_AR)
    for cdb in (READ, "2f", "34", "37", "9e 12"):
        assert b.conflicts(cdb) == (exclusive and not shared)
    for cdb in (WRITE, MODE_SENSE, "35", "42", "1b 00 00 00 00 00", "1e 00 00 00 01 00"):
        assert b.conflicts(cdb) == (not shared)
    for cdb in (
        "00",
        "12 00 00 00ff 00",
        "25",
        "a0 00 00 000000 00000100 00 00",
        "5e",
        "1b 00 00 00 01 00",
        "1e",
        "a3 0c",
        "a3 0a",
    ):
        assert not b.conflicts(cdb)
    for cdb in (READ, WRITE, MODE_SENSE):
        assert not a.conflicts(cdb)
    flags = 0 if shared else NexusFlag.SLOW_WRITE | NexusFlag.SLOW_PREBUILT | (NexusFlag.SLOW_READ if exclusive else 0)
    assert (a.nexus.flags, b.nexus.flags) == (0, flags)


# --- CLEAR, PREEMPT ---


def test_clear(a, b, c) -> None:
    holds(a, 1, WE)
    register(b, 2)
    b.good(*out(CLEAR, 2))
    assert (keys(b), reservation(b)) == ((3, []), None)
    assert (a.attention(), b.attention(), c.attention()) == ("06/2a/03", "", "")
    assert b.conflicts(*out(CLEAR, 2))


@pytest.mark.parametrize("type_", [WE, EA, WE_RO, EA_RO])
def test_preempt_the_holder(a, b, c, type_: int) -> None:
    holds(a, 1, type_)
    register(b, 2)
    register(c, 3)
    b.good(*out(PREEMPT, 2, 1, WE))
    assert (keys(b), reservation(b)) == ((4, [2, 3]), (2, WE))
    assert a.attention() == "06/2a/05"
    assert c.attention() == ("06/2a/04" if type_ >= WE_RO else "")
    assert b.attention() == ""


def test_preempt_another_registrant(a, b, c) -> None:
    holds(a, 1, WE)
    register(b, 2)
    register(c, 3)
    b.good(*out(PREEMPT, 2, 3, EA))
    assert (keys(b), reservation(b)) == ((4, [1, 2]), (1, WE))
    assert (a.attention(), c.attention()) == ("", "06/2a/05")


def test_preempt_one_s_own_reservation_changes_its_type(a) -> None:
    holds(a, 1, WE)
    a.good(*out(PREEMPT, 1, 1, EA_RO))
    assert (keys(a), reservation(a)) == ((2, [1]), (1, EA_RO))


def test_preempt_without_a_reservation(a, b) -> None:
    register(a, 1)
    register(b, 2)
    b.good(*out(PREEMPT, 2, 1, WE))
    assert (keys(b), reservation(b)) == ((3, [2]), None)
    assert a.attention() == "06/2a/05"


def test_preempt_a_key_that_nobody_has(a, b) -> None:
    holds(a, 1, WE)
    register(b, 2)
    assert b.conflicts(*out(PREEMPT, 2, 9, WE))
    assert b.sense(*out(PREEMPT, 2, 0, WE)) == "05/26/00"
    assert b.conflicts(*out(PREEMPT, 8, 1, WE))


def test_preempt_all_registrants(a, b, c) -> None:
    holds(a, 1, EA_AR)
    register(b, 2)
    register(c, 3)
    b.good(*out(PREEMPT, 2, 0, WE))
    assert (keys(b), reservation(b)) == ((4, [2]), (2, WE))
    assert (a.attention(), c.attention()) == ("06/2a/05", "06/2a/05")


def test_preempt_one_of_all_registrants_leaves_the_reservation(a, b) -> None:
    holds(a, 1, EA_AR)
    register(b, 2)
    b.good(*out(PREEMPT, 2, 1, WE))
    assert (keys(b), reservation(b)) == ((3, [2]), (0, EA_AR))


def test_preempt_and_abort_names_the_nexuses(a, b) -> None:
    holds(a, 1, WE)
    a.nexus.prevents_removal = True
    register(b, 2)
    reply = b.send(*out(PREEMPT_AND_ABORT, 2, 1, WE))
    assert (reply.status, reply.aborts) == (Status.GOOD, (a.nexus,))
    assert reservation(b) == (2, WE)
    assert not a.nexus.prevents_removal
    assert b.send(*out(PREEMPT, 2, 2, EA)).aborts == ()


def test_clear_allows_the_removal_of_the_medium(a, b) -> None:
    """CLEAR is the way out when a host that prevents removal is gone (SBC-3 5.15); PREEMPT is not."""
    for initiator, key in ((a, 1), (b, 2)):
        register(initiator, key)
        initiator.nexus.prevents_removal = True
    b.good(*out(PREEMPT, 2, 1, WE))
    assert a.nexus.prevents_removal
    a.attention()
    register(a, 1)
    b.good(*out(CLEAR, 2, 0, WE))
    assert not a.nexus.prevents_removal
    assert not b.nexus.prevents_removal


# --- REGISTER AND MOVE ---


def move(key: int, action_key: int, port: str, flags: int = 0, relative_port: int = 1) -> tuple[str, bytes]:
    identifier = transport_id.encode(port)
    data = key.to_bytes(8) + action_key.to_bytes(8) + bytes([0, flags]) + relative_port.to_bytes(2)
    data += len(identifier).to_bytes(4) + identifier
    return f"5f 07 00 00 00 {len(data):08x} 00", data


@pytest.mark.parametrize("unregister", [False, True])
def test_register_and_move(a, b, unregister: bool) -> None:
    holds(a, 1, WE)
    a.good(*move(1, 7, b.nexus.initiator_port, flags=0x02 if unregister else 0))
    assert reservation(b) == (7, WE)
    assert sorted(keys(b)[1]) == ([7] if unregister else [1, 7])
    assert a.conflicts(WRITE)
    assert not b.conflicts(WRITE)


def test_register_and_move_needs_the_holder(a, b) -> None:
    register(a, 1)
    assert a.sense(*move(1, 7, b.nexus.initiator_port)) == "05/24/00"
    register(b, 2)
    b.good(*out(RESERVE, 2, 0, WE))
    assert a.conflicts(*move(1, 7, "iqn.other,i,0x000000000000"))
    b.good(*out(RELEASE, 2, 0, WE))
    b.good(*out(RESERVE, 2, 0, WE_AR))
    assert a.conflicts(*move(1, 7, "iqn.other,i,0x000000000000"))


def test_register_and_move_refuses(a, b) -> None:
    holds(a, 1, WE)
    port = b.nexus.initiator_port
    assert a.sense(*move(1, 0, port)) == "05/26/00"
    assert a.sense(*move(1, 7, port, relative_port=2)) == "05/26/00"
    assert a.sense(*move(1, 7, a.nexus.initiator_port)) == "05/26/00"
    cdb, data = move(1, 7, port)
    assert a.sense(cdb, data[:20] + bytes(4) + data[24:]) == "05/1a/00"
    assert a.conflicts(*move(2, 7, port))


# --- PERSISTENT RESERVE IN ---


def test_read_full_status(a, b) -> None:
    holds(a, 1, WE)
    register(b, 2)
    data = a.good("5e 03 00 00000000 ffff 00")
    identifiers = [transport_id.encode(x.nexus.initiator_port) for x in (a, b)]
    entries = [
        key.to_bytes(8) + bytes(4) + holder + bytes(4) + b"\x00\x01" + len(name).to_bytes(4) + name
        for key, holder, name in ((1, b"\x01\x01", identifiers[0]), (2, b"\x00\x00", identifiers[1]))
    ]
    assert data == (2).to_bytes(4) + sum(map(len, entries)).to_bytes(4) + b"".join(entries)


def test_report_capabilities(a, make_unit, initiator_on) -> None:
    assert a.good("5e 02 00 00000000 ffff 00").hex() == "00081d80ea010000"
    a.good(*out(REGISTER, 0, 1, flags=APTPL))
    assert a.good("5e 02 00 00000000 ffff 00").hex() == "00081d81ea010000"
    assert initiator_on(make_unit(1)).good("5e 02 00 00000000 ffff 00").hex() == "00081c80ea010000"


@pytest.mark.parametrize("action", range(4, 32))
def test_unknown_service_actions_in(a, action: int) -> None:
    assert a.sense(f"5e {action:02x} 00 00000000 ffff 00") == "05/24/00"


@pytest.mark.parametrize("action", range(8, 32))
def test_unknown_service_actions_out(a, action: int) -> None:
    assert a.sense(*out(action, 0)) == "05/24/00"


@pytest.mark.parametrize("length", range(0, 24, 4))
def test_answers_are_cut_but_tell_their_whole_length(a, b, length: int) -> None:
    register(a, 1)
    register(b, 2)
    data = a.good(f"5e 00 00 00000000 {length:04x} 00")
    assert data == ((2).to_bytes(4) + (16).to_bytes(4) + (1).to_bytes(8) + (2).to_bytes(8))[:length]
