"""WRITE SAME and UNMAP."""

import pytest

A = b"\xaa" * 512


def same(opcode: int, lba: int, count: int, flags: int = 0) -> str:
    if opcode == 0x41:
        return f"41 {flags:02x} {lba:08x} 00 {count:04x} 00"
    return f"93 {flags:02x} {lba:016x} {count:08x} 00 00"


def unmap(*ranges: tuple[int, int]) -> tuple[str, bytes]:
    """CDB and parameter list of an UNMAP."""
    body = b"".join(lba.to_bytes(8) + count.to_bytes(4) + bytes(4) for lba, count in ranges)
    data = (len(body) + 6).to_bytes(2) + len(body).to_bytes(2) + bytes(4) + body
    return f"42 00 00000000 00 {len(data):04x} 00", data


@pytest.fixture(autouse=True)
def full(unit):
    unit.medium.image.write(0, memoryview(b"\xff" * 512 * 4096))


def stored(unit, lba: int, count: int = 1) -> bytes:
    return unit.medium.image.read(lba * 512, count * 512)


@pytest.mark.parametrize("opcode", [0x41, 0x93])
def test_write_same_fills(unit, a, opcode: int) -> None:
    a.good(same(opcode, 3, 3000), A)
    assert stored(unit, 2, 3002) == b"\xff" * 512 + A * 3000 + b"\xff" * 512
    assert not unit.medium.image.discards


@pytest.mark.parametrize("opcode", [0x41, 0x93])
def test_write_same_of_zeros_with_unmap_frees(unit, a, opcode: int) -> None:
    a.good(same(opcode, 3, 3000, 0x08), bytes(512))
    assert stored(unit, 3, 3000) == bytes(512 * 3000)
    assert unit.medium.image.discards == [(3 * 512, 1 << 20), (3 * 512 + (1 << 20), 3000 * 512 - (1 << 20))]


@pytest.mark.parametrize("opcode", [0x41, 0x93])
def test_write_same_of_other_data_with_unmap_writes(unit, a, opcode: int) -> None:
    a.good(same(opcode, 3, 2, 0x08), A)
    assert stored(unit, 3, 2) == A + A
    assert not unit.medium.image.discards


def test_write_same_without_data(unit, a) -> None:
    a.good(same(0x93, 3, 2, 0x01))
    assert stored(unit, 3, 2) == bytes(1024)
    assert not unit.medium.image.discards
    a.good(same(0x93, 3, 2, 0x09))
    assert unit.medium.image.discards == [(3 * 512, 1024)]


@pytest.mark.parametrize("opcode", [0x41, 0x93])
@pytest.mark.parametrize("flags", [0x10, 0x18, 0x02, 0x04])
def test_anchor_and_obsolete_bits_are_refused(a, opcode: int, flags: int) -> None:
    assert a.sense(same(opcode, 0, 1, flags), A) == "05/24/00"


@pytest.mark.parametrize("opcode", [0x41, 0x93])
@pytest.mark.parametrize("length", [0, 256, 1024])
def test_write_same_takes_exactly_one_block(a, opcode: int, length: int) -> None:
    sense = "05/0e/03" if length % 512 else "05/24/00"
    assert a.sense(same(opcode, 0, 1), bytes(min(512, length)), expected=length) == sense


@pytest.mark.parametrize("opcode", [0x41, 0x93])
def test_write_same_of_no_blocks(unit, a, make_unit, initiator_on, opcode: int) -> None:
    assert a.sense(same(opcode, 0, 0), A) == "05/24/00"
    thick = make_unit(1, thin=False)
    initiator_on(thick).good(same(opcode, 4000, 0), A)
    assert thick.medium.image.read(3999 * 512, 97 * 512) == bytes(512) + A * 96


@pytest.mark.parametrize("opcode", [0x41, 0x93])
def test_thick_unit_refuses_the_unmap_bit(make_unit, initiator_on, opcode: int) -> None:
    assert initiator_on(make_unit(1, thin=False)).sense(same(opcode, 0, 1, 0x08), bytes(512)) == "05/24/00"


# --- UNMAP ---


def test_unmap(unit, a) -> None:
    a.good(*unmap((1, 2), (4094, 2)))
    assert stored(unit, 0, 4) == b"\xff" * 512 + bytes(1024) + b"\xff" * 512
    assert unit.medium.image.discards == [(512, 1024), (4094 * 512, 1024)]


def test_unmap_of_no_blocks_is_nothing(unit, a) -> None:
    a.good(*unmap((0, 0), (4096, 0)))
    a.good(*unmap())
    a.good("42 00 00000000 00 0000 00")
    assert not unit.medium.image.discards


@pytest.mark.parametrize("wrong", [(4096, 1), (4095, 2), ((1 << 64) - 1, 2), (4097, 0)])
def test_unmap_beyond_the_end_frees_nothing(unit, a, wrong: tuple[int, int]) -> None:
    assert a.sense(*unmap((0, 1), wrong)) == "05/21/00"
    assert not unit.medium.image.discards


@pytest.mark.parametrize(("length", "data"), [(7, bytes(7)), (24, bytes(16))])
def test_unmap_list_that_ends_too_soon(a, length: int, data: bytes) -> None:
    assert a.sense(f"42 00 00000000 00 {length:04x} 00", data) == "05/1a/00"


def test_unmap_ignores_an_incomplete_descriptor(unit, a) -> None:
    _, data = unmap((1, 2))
    a.good("42 00 00000000 00 0020 00", (0x1E).to_bytes(2) + (24).to_bytes(2) + data[4:] + bytes(8))
    assert unit.medium.image.discards == [(512, 1024)]


def test_unmap_with_too_many_descriptors(unit, a) -> None:
    assert a.sense(*unmap(*((0, 1) for _ in range(257)))) == "05/26/00"
    assert not unit.medium.image.discards


def test_unmap_of_too_many_blocks(a, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldherd.limits.UNMAP_BLOCKS_MAX", 4)
    a.good(*unmap((0, 2), (8, 2)))
    assert a.sense(*unmap((0, 2), (8, 3))) == "05/26/00"


def test_unmap_with_anchor(a) -> None:
    _, data = unmap((0, 1))
    assert a.sense("42 01 00000000 00 0018 00", data) == "05/24/00"


def test_unmap_of_a_write_protected_unit(unit, a) -> None:
    unit.read_only = True
    assert a.sense(*unmap((0, 1))) == "07/27/00"
