"""The command table, and the order of checks around every command."""

from pathlib import Path

import pytest
from goldherd.errors import ImageError, StorageFullError
from goldherd.scsi import sense as codes
from goldherd.scsi.absent import execute_without_unit
from goldherd.scsi.call import Command
from goldherd.scsi.commands import TABLE, lookup
from goldherd.scsi.execute import execute, io_error
from goldherd.scsi.sam import Access, Direction, Status
from goldherd.scsi.state.device import LogicalUnit, Target

LIMITS = Path(__file__).parents[2] / "docs" / "limits.md"
ACCESS = {
    Access.FREE: "never conflicts",
    Access.STATUS: "conflicts with RESERVE only",
    Access.READ: "as a read",
    Access.WRITE: "as a write",
    None: "decides itself",
}
LENGTH_BY_GROUP = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}


@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.name)
class TestTable:
    def test_length_is_that_of_the_group_code(self, command: Command) -> None:
        assert command.cdb_length == LENGTH_BY_GROUP[command.opcode >> 5]

    def test_service_action_stands_in_the_usage_map(self, command: Command) -> None:
        if command.action is not None:
            assert command.usage_map[1] & 0x1F == command.action

    def test_lookup_finds_it(self, command: Command) -> None:
        cdb = bytes([command.opcode, command.action or 0]).ljust(16, b"\x00")
        assert lookup(cdb) is command

    def test_data_out_commands_say_how_much(self, command: Command) -> None:
        assert (command.direction is Direction.OUT) == (command.length is not None or "pl" in command.usage)

    def test_naca_is_refused(self, a, command: Command) -> None:
        cdb = bytearray(command.cdb_length)
        cdb[0], cdb[1], cdb[-1] = command.opcode, command.action or 0, 0x04
        assert a.sense(cdb.hex()) == "05/24/00"

    def test_report_supported_operation_codes_tells_its_usage_map(self, a, command: Command) -> None:
        data = a.good(f"a3 0c 03 {command.opcode:02x} {command.action or 0:04x} 00001000")
        assert data[1] == 0x03
        assert data[2:4] == command.cdb_length.to_bytes(2)
        assert data[4:] == command.usage_map


def documented(command: Command) -> str:
    """The row of the documentation for a command."""
    code = f"{command.opcode:02X} h" + ("" if command.action is None else f" / {command.action:02X} h")
    access = "depends on the CDB" if callable(command.access) else ACCESS[command.access]
    return f"| {command.name} | {code} | {access} |"


def test_documentation_lists_the_table() -> None:
    rows = [line for line in LIMITS.read_text().splitlines() if line.startswith("| ") and " h " in line]
    assert rows == [documented(command) for command in TABLE]


def test_all_commands_are_reported_with_their_service_actions(a) -> None:
    data = a.good("a3 0c 00 00 0000 00010000")
    assert int.from_bytes(data[0:4]) == len(data) - 4 == 8 * len(TABLE)
    told = {(data[at], int.from_bytes(data[at + 2 : at + 4]), data[at + 5] & 0x01) for at in range(4, len(data), 8)}
    assert told == {(line.opcode, line.action or 0, int(line.action is not None)) for line in TABLE}


def test_all_commands_are_reported_with_timeouts_if_asked(a) -> None:
    data = a.good("a3 0c 80 00 0000 00010000")
    assert int.from_bytes(data[0:4]) == 20 * len(TABLE)
    assert data[4 + 5] & 0x02
    assert data[12:14] == b"\x00\x0a"


@pytest.mark.parametrize(
    ("cdb", "answer"),
    [
        ("a3 0c 01 fe 0000 00000100", "00010000"),  # an operation code that does not exist
        ("a3 0c 02 9e 0011 00000100", "00010000"),  # a service action that does not exist
        ("a3 0c 01 00 0000 00000100", "00030006000000000004"),
        ("a3 0c 02 9e 0010 00000004", "00030010"),
        ("a3 0c 81 00 0000 00000100", "00830006000000000004000a" + 10 * "00"),
    ],
)
def test_report_supported_operation_codes_for_one_command(a, cdb: str, answer: str) -> None:
    assert a.good(cdb).hex() == answer


@pytest.mark.parametrize("cdb", ["a3 0c 01 9e 0000 00000100", "a3 0c 02 00 0000 00000100", "a3 0c 04 00 0000 00000100"])
def test_report_supported_operation_codes_with_a_wrong_option(a, cdb: str) -> None:
    assert a.sense(cdb) == "05/24/00"


def test_unmap_is_not_reported_where_it_does_not_exist(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, thin=False))
    assert initiator.good("a3 0c 01 42 0000 00000100").hex() == "00010000"
    assert initiator.sense("42 00 00 00 00 00 00 00 00 00") == "05/20/00"


# --- refusals ---


def test_unknown_operation_code(a) -> None:
    assert a.send("ff").sense.hex() == "70000500 0000000a 00000000 2000 00 c00000".replace(" ", "")


def test_unknown_service_action(a) -> None:
    assert a.sense("9e 1f") == "05/24/00"


def test_field_pointer_names_byte_and_bit(a) -> None:
    sense = a.send("28 40 00000000 00 0001 00").sense
    assert sense[15:18].hex() == "ce0001"  # SKSV, C/D, BPV, bit 6 of byte 1


def test_field_pointer_into_the_parameter_list(a) -> None:
    sense = a.send("15 10 00 00 04 00", bytes([1, 0, 0, 0])).sense
    assert sense[15:18].hex() == "800000"  # SKSV, byte 0


def test_reserved_bytes_that_initiators_fill_are_ignored(a) -> None:
    a.good("28 00 00000000 1f 0001 00")  # group number


def test_unit_attention_comes_before_an_unknown_operation_code(unit, a) -> None:
    a.nexus.attend(codes.CAPACITY_DATA_CHANGED)
    assert a.sense("ff") == "06/2a/09"
    assert a.sense("ff") == "05/20/00"


def test_reservation_conflict_comes_before_unit_attention(unit, a, b) -> None:
    a.good("16 00 00 00 00 00")
    b.nexus.attend(codes.CAPACITY_DATA_CHANGED)
    assert b.conflicts("00 00 00 00 00 00")
    assert b.nexus.attentions


def test_allocation_length_cuts_without_a_word(a) -> None:
    assert len(a.good("12 00 00 0005 00")) == 5
    assert a.good("12 00 00 0000 00") == b""


def test_unexpected_exception_is_an_internal_target_failure(a, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(type(a.unit.medium.image), "read_into", burst)
    assert a.sense("28 00 00000000 00 0001 00") == "04/44/00"


@pytest.mark.parametrize(
    ("cdb", "error", "sense"),
    [
        ("28 00 00000000 00 0001 00", ImageError("gone"), "03/11/00"),
        ("2a 00 00000000 00 0001 00", ImageError("gone"), "03/0c/00"),
        ("2a 00 00000000 00 0001 00", StorageFullError("full"), "07/27/07"),
        ("2a 00 00000000 00 0001 00", OSError(28, "full"), "07/27/07"),
        ("2a 00 00000000 00 0001 00", OSError(30, "read-only"), "07/27/00"),
    ],
)
def test_errors_of_the_image(a, monkeypatch: pytest.MonkeyPatch, cdb: str, error: Exception, sense: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(a.unit.medium.image), "read_into", fail)
    monkeypatch.setattr(type(a.unit.medium.image), "write", fail)
    assert a.sense(cdb, bytes(512)) == sense


@pytest.mark.parametrize(
    ("kind", "number", "sense"),
    [
        ("read", 5, "f000030000002a0a00000000110000000000"),
        ("write", 5, "f000030000002a0a000000000c0000000000"),
        ("flush", -5, "f000030000002a0a000000000c0000000000"),
        ("write", 28, "700007000000000a00000000270700000000"),
        ("write", -30, "700007000000000a00000000270000000000"),
    ],
)
def test_io_error_of_the_data_plane(unit: LogicalUnit, kind: str, number: int, sense: str) -> None:
    reply = io_error(unit, kind, number, lba=42)
    assert reply.status == Status.CHECK_CONDITION
    assert reply.sense.hex() == sense


def test_information_beyond_32_bits_takes_descriptor_format(unit: LogicalUnit) -> None:
    assert io_error(unit, "read", 5, lba=1 << 40).sense.hex() == "720311000000000c000a80000000010000000000"


def test_abort_ends_a_long_command_between_steps(a) -> None:
    cdb = bytes.fromhex("8f 00 0000000000000000 00001000 00 00")
    assert execute(a.unit, a.nexus, cdb, aborted=lambda: True).status == Status.TASK_ABORTED


# --- a LUN that isn't there ---


@pytest.mark.parametrize(
    ("cdb", "data"),
    [
        ("12 00 00 0004 00", "7f000612"),
        ("03 00 00 00 ff 00", "700005000000000a00000000250000000000"),
        ("a0 00 00 000000 00000100 00 00", "00000008000000000000000000000000"),
    ],
)
def test_missing_lun_answers(unit: LogicalUnit, target: Target, cdb: str, data: str) -> None:
    reply = execute_without_unit(target, bytes.fromhex(cdb).ljust(16, b"\x00"))
    assert (reply.status, reply.data_in.hex()) == (Status.GOOD, data)


@pytest.mark.parametrize("cdb", ["00 00 00 00 00 00", "28 00 00000000 00 0001 00", "12 01 00 0004 00", "ff"])
def test_missing_lun_refuses(target: Target, cdb: str) -> None:
    reply = execute_without_unit(target, bytes.fromhex(cdb).ljust(16, b"\x00"))
    assert reply.sense.hex() == "700005000000000a00000000250000000000"


def test_every_command_has_a_reservation_behaviour_or_decides_itself() -> None:
    own = {line.name for line in TABLE if line.access is None}
    assert own == {
        "EXTENDED COPY(LID1)",
        "RESERVE(6)",
        "RELEASE(6)",
        "RESERVE(10)",
        "RELEASE(10)",
        *(line.name for line in TABLE if line.opcode == 0x5F),
    }
    assert all(isinstance(line.access_of(bytes(16)), Access) for line in TABLE if line.access is not None)
