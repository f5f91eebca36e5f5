"""READ, WRITE, VERIFY, WRITE AND VERIFY, ORWRITE, COMPARE AND WRITE, WRITE ATOMIC."""

import pytest
from goldherd.scsi.commands import lookup
from goldherd.scsi.sam import Status

from tests.scsi.conftest import triple

A, B = b"\xaa" * 512, b"\xbb" * 512
LAST = 4095


def cdb(opcode: int, lba: int, count: int, flags: int = 0) -> str:
    """A CDB in hex, its fields where the group code says."""
    if opcode < 0x20:
        return f"{opcode:02x} {lba:06x} {count & 0xFF:02x} 00"
    if opcode < 0x60:
        return f"{opcode:02x} {flags:02x} {lba:08x} 00 {count:04x} 00"
    if opcode >= 0xA0:
        return f"{opcode:02x} {flags:02x} {lba:08x} {count:08x} 00 00"
    if opcode == 0x89:
        return f"89 {flags:02x} {lba:016x} 000000 {count:02x} 00 00"
    if opcode == 0x9C:
        return f"9c {flags:02x} {lba:016x} 0000 {count:04x} 00 00"
    return f"{opcode:02x} {flags:02x} {lba:016x} {count:08x} 00 00"


READS = [0x08, 0x28, 0xA8, 0x88]
WRITES = [0x0A, 0x2A, 0xAA, 0x8A]
VERIFIES = [0x2F, 0xAF, 0x8F]
WRITE_AND_VERIFIES = [0x2E, 0xAE, 0x8E]
ALL_WRITES = [*WRITES, *WRITE_AND_VERIFIES, 0x8B, 0x89, 0x9C, 0x41, 0x93]
RANGED = [
    *READS[1:],
    *WRITES[1:],
    *VERIFIES,
    *WRITE_AND_VERIFIES,
    0x8B,
    0x89,
    0x9C,
    0x34,
    0x90,
    0x35,
    0x91,
    0x41,
    0x93,
]


def stored(unit, lba: int, count: int = 1) -> bytes:
    return unit.medium.image.read(lba * 512, count * 512)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", READS)
def test_what_is_written_is_read(unit, a, write: int, read: int) -> None:
    a.good(cdb(write, 7, 2), A + B)
    assert a.good(cdb(read, 7, 2)) == A + B
    assert stored(unit, 9) == bytes(512)


def test_read_6_and_write_6_of_0_blocks_mean_256(unit, a) -> None:
    a.good(cdb(0x0A, 0, 0), A * 256)
    assert a.good(cdb(0x08, 0, 0)) == A * 256
    assert stored(unit, 256) == bytes(512)


@pytest.mark.parametrize("opcode", RANGED)
@pytest.mark.parametrize(("lba", "count"), [(LAST, 2), (LAST + 1, 1), (LAST + 1, 0), (LAST + 2, 0), ((1 << 32) - 1, 2)])
def test_beyond_the_end(a, opcode: int, lba: int, count: int) -> None:
    text = cdb(opcode, lba, count)
    data = bytes(lookup(bytes.fromhex(text)).data_out_bytes(bytes.fromhex(text), 512))
    assert a.sense(text, data) == "05/21/00"


@pytest.mark.parametrize("opcode", [0x88, 0x8A, 0x8F, 0x8E, 0x8B, 0x90, 0x91])
def test_the_last_lba_of_64_bits_does_not_wrap(a, opcode: int) -> None:
    assert a.sense(cdb(opcode, (1 << 64) - 1, 2), bytes(1024)) == "05/21/00"


@pytest.mark.parametrize("opcode", [code for code in RANGED if code not in (0x41, 0x93)])
def test_no_blocks_are_nothing(unit, a, opcode: int) -> None:
    assert a.good(cdb(opcode, LAST, 0)) == b""
    assert stored(unit, LAST) == bytes(512)


@pytest.mark.parametrize(
    "opcode", [*READS[1:], *WRITES[1:], *VERIFIES, *WRITE_AND_VERIFIES, 0x8B, 0x89, 0x9C, 0x41, 0x93]
)
def test_protection_information_is_refused(a, opcode: int) -> None:
    assert a.sense(cdb(opcode, 0, 1, flags=0x20), A) == "05/24/00"


@pytest.mark.parametrize("opcode", ALL_WRITES)
def test_write_protected(unit, a, opcode: int) -> None:
    unit.read_only = True
    assert a.sense(cdb(opcode, 0, 1), A) == "07/27/00"
    assert stored(unit, 0) == bytes(512)


@pytest.mark.parametrize("opcode", READS[1:])
def test_dpo_and_fua_are_taken_by_reads(a, opcode: int) -> None:
    a.good(cdb(opcode, 0, 1, flags=0x18))


@pytest.mark.parametrize(
    ("opcode", "data"), [*((code, A) for code in WRITES[1:]), (0x8B, A), (0x89, bytes(512) + A), (0x9C, A)]
)
def test_fua_reaches_stable_storage(unit, a, opcode: int, data: bytes) -> None:
    a.good(cdb(opcode, 0, 1, flags=0x08), data)
    assert unit.medium.image.flushes == 1


@pytest.mark.parametrize("opcode", WRITES)
def test_without_fua_the_write_stays_in_the_cache(unit, a, opcode: int) -> None:
    a.good(cdb(opcode, 0, 1), A)
    assert unit.medium.image.flushes == 0


@pytest.mark.parametrize("opcode", [*WRITES, 0x8B, 0x9C, 0x41, 0x93])
def test_with_the_write_cache_off_every_write_is_fua(unit, a, opcode: int) -> None:
    a.good("15 10 00 00 18 00", bytes(4) + bytes([0x08, 0x12]) + bytes(18))
    a.good(cdb(opcode, 0, 1), A)
    assert unit.medium.image.flushes == 1


def test_longer_than_the_maximum_transfer_length(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, size=(32 << 20) + 512))
    for opcode in (0x88, 0x8A, 0x8E, 0x8B):
        assert initiator.sense(cdb(opcode, 0, 65537), expected=0) == "05/24/00"
    initiator.good(cdb(0x8F, 0, 65537))  # VERIFY without data moves nothing


@pytest.mark.parametrize("opcode", [*WRITES, *WRITE_AND_VERIFIES])
def test_of_less_data_than_named_whole_blocks_are_written(unit, a, opcode: int) -> None:
    a.good(cdb(opcode, 0, 3), A + B)
    assert stored(unit, 0, 3) == A + B + bytes(512)


# --- VERIFY ---


@pytest.mark.parametrize("opcode", VERIFIES)
def test_verify_without_comparing(a, opcode: int) -> None:
    a.good(cdb(opcode, 0, 4096))


@pytest.mark.parametrize("opcode", VERIFIES)
def test_verify_equal(unit, a, opcode: int) -> None:
    unit.medium.image.write(0, memoryview(A + B))
    a.good(cdb(opcode, 0, 2, flags=0x02), A + B)


@pytest.mark.parametrize("opcode", VERIFIES)
def test_verify_miscompare_tells_the_first_wrong_byte(unit, a, opcode: int) -> None:
    unit.medium.image.write(0, memoryview(A + B))
    sense = a.send(cdb(opcode, 0, 2, flags=0x02), A + B[:99] + b"\x00" + B[100:]).sense
    assert sense.hex() == "f0000e" + (512 + 99).to_bytes(4).hex() + "0a000000001d0000000000"


@pytest.mark.parametrize("opcode", VERIFIES)
def test_verify_each_block_against_one(unit, a, opcode: int) -> None:
    unit.medium.image.write(0, memoryview(A * 3000 + B))
    a.good(cdb(opcode, 0, 3000, flags=0x06), A)
    sense = a.send(cdb(opcode, 0, 3001, flags=0x06), A).sense
    assert (sense[2], sense[3:7].hex()) == (0x0E, "00000000")


@pytest.mark.parametrize("opcode", VERIFIES)
def test_bytchk_2_is_refused(a, opcode: int) -> None:
    assert a.sense(cdb(opcode, 0, 1, flags=0x04)) == "05/24/00"


# --- WRITE AND VERIFY ---


@pytest.mark.parametrize("opcode", WRITE_AND_VERIFIES)
@pytest.mark.parametrize("check", [0x00, 0x02])
def test_write_and_verify_is_on_stable_storage(unit, a, opcode: int, check: int) -> None:
    a.good(cdb(opcode, 3, 2, flags=check), A + B)
    assert stored(unit, 3, 2) == A + B
    assert unit.medium.image.flushes == 1


@pytest.mark.parametrize("check", [0x04, 0x06])
def test_write_and_verify_refuses_other_bytchk(unit, a, check: int) -> None:
    assert a.sense(cdb(0x2E, 3, 1, flags=check), A) == "05/24/00"
    assert stored(unit, 3) == bytes(512)


def test_write_and_verify_finds_a_disk_that_forgets(unit, a, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(unit.medium.image), "write", lambda *_: None)
    assert a.sense(cdb(0x2E, 3, 1, flags=0x02), A) == "0e/1d/00"


# --- ORWRITE, COMPARE AND WRITE, WRITE ATOMIC ---


def test_orwrite(unit, a) -> None:
    unit.medium.image.write(512, memoryview(b"\x0f" * 512))
    a.good(cdb(0x8B, 1, 1), b"\x35" * 512)
    assert stored(unit, 1) == b"\x3f" * 512


def test_orwrite_over_several_steps(unit, a) -> None:
    unit.medium.image.write(0, memoryview(b"\x01" * 512 * 4096))
    a.good(cdb(0x8B, 0, 4096), b"\x02" * 512 * 4096)
    assert stored(unit, 0, 4096) == b"\x03" * 512 * 4096


def test_compare_and_write(unit, a) -> None:
    a.good(cdb(0x89, 5, 1), bytes(512) + A)
    assert stored(unit, 5) == A


def test_compare_and_write_miscompare_changes_nothing(unit, a) -> None:
    a.good(cdb(0x89, 5, 1), bytes(512) + A)
    sense = a.send(cdb(0x89, 5, 1), A[:77] + b"\x00" + A[78:] + B).sense
    assert sense.hex() == "f0000e" + (77).to_bytes(4).hex() + "0a000000001d0000000000"
    assert stored(unit, 5) == A


@pytest.mark.parametrize("length", [0, 512, 1536, 2048])
def test_compare_and_write_with_another_amount_of_data(unit, a, length: int) -> None:
    assert a.sense(cdb(0x89, 5, 1), bytes(min(length, 1024)), expected=length) == "05/24/00"


def test_write_atomic(unit, a) -> None:
    a.good(cdb(0x9C, 5, 2), A + B)
    assert stored(unit, 5, 2) == A + B


def test_write_atomic_above_its_maximum(a) -> None:
    assert a.sense(cdb(0x9C, 0, 2049), bytes(2049 * 512)) == "05/24/00"


def test_write_atomic_with_a_boundary(a) -> None:
    assert a.sense("9c 00 0000000000000000 0001 0001 00 00", A) == "05/24/00"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (cdb(0x0A, 0, 0), 256 * 512),
        (cdb(0x2A, 0, 3), 3 * 512),
        (cdb(0x8A, 0, 65537), 0),
        (cdb(0x2F, 0, 3), 0),
        (cdb(0x2F, 0, 3, 0x02), 3 * 512),
        (cdb(0x2F, 0, 3, 0x06), 512),
        (cdb(0x89, 0, 255), 2 * 255 * 512),
        (cdb(0x41, 0, 9), 512),
        (cdb(0x93, 0, 9, 0x01), 0),
        ("42 00 00000000 00 0018 00", 24),
        ("15 10 00 00 18 00", 24),
        ("55 10 00000000 00 0118 00", 0x118),
        ("5f 00 00 00 00 00000018 00", 24),
        ("5f 00 00 00 00 7fffffff 00", 0),
        ("83 00 0000000000000000 00000058 00 00", 88),
        ("28 00 00000000 00 0001 00", 0),
        ("48 01 00 00 00 00 00 0204 00", 516),
        ("48 01 00 00 00 00 00 ffff 00", 65535),
        ("1d 10 00 0008 00", 8),
    ],
)
def test_data_out_a_cdb_asks_for(text: str, length: int) -> None:
    assert lookup(bytes.fromhex(text)).data_out_bytes(bytes.fromhex(text), 512) == length


TWO_BLOCKS = {
    "WRITE(10)": "2a 00 00000000 00 0002 00",
    "WRITE AND VERIFY(16)": "8e 00 0000000000000000 00000002 00 00",
    "ORWRITE(16)": "8b 00 0000000000000000 00000002 00 00",
    "COMPARE AND WRITE": "89 00 0000000000000000 000000 01 00 00",
    "WRITE ATOMIC(16)": "9c 00 0000000000000000 0000 0002 00 00",
    "VERIFY(12)": "af 02 00000000 00000002 00 00",
}


@pytest.mark.parametrize("name", TWO_BLOCKS)
@pytest.mark.parametrize("length", [1, 511, 513, 1023])
def test_data_that_ends_inside_a_block_is_refused(unit, a, name: str, length: int) -> None:
    reply = a.send(TWO_BLOCKS[name], b"\x55" * length)
    assert (triple(reply.sense), reply.overflows) == ("05/0e/03", True)
    assert unit.medium.image.read(0, 1024) == bytes(1024)


def test_blocks_that_do_not_exist_come_before_a_length_inside_a_block(a) -> None:
    assert a.sense("2a 00 00001000 00 0002 00", bytes(700)) == "05/21/00"


def test_write_of_which_less_came_than_was_announced_is_not_called_good(unit, a) -> None:
    """The slow path takes PARAMETER_BYTES_MAX at most; the initiator tries again."""
    assert a.send(TWO_BLOCKS["WRITE(10)"], b"\x55" * 512, expected=1024).status == Status.BUSY
    assert unit.medium.image.read(0, 1024) == bytes(1024)


def test_comparison_of_which_less_came_than_was_announced_is_refused(a) -> None:
    assert a.sense(TWO_BLOCKS["VERIFY(12)"], bytes(512), expected=1024) == "05/24/00"
