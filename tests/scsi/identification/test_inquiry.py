"""INQUIRY: standard data and vital product data."""

import pytest
from goldherd.block.memory import MemoryImage
from goldherd.scsi import sense as codes
from goldherd.scsi.sense import encode
from goldherd.scsi.state.device import LogicalUnit, Target

PAGES = ["00", "80", "83", "86", "87", "88", "8f", "b0", "b1", "b2"]


def page(initiator, code: str) -> bytes:
    return initiator.good(f"12 01 {code} ffff 00")


def descriptors(data: bytes) -> dict[tuple[int, int], tuple[int, bytes]]:
    """(association, type) -> (protocol, value) of the designation descriptors of page 83h."""
    found, at = {}, 4
    while at < len(data):
        length = data[at + 3]
        found[data[at + 1] >> 4 & 3, data[at + 1] & 0x0F] = data[at] >> 4, data[at + 4 : at + 4 + length]
        at += 4 + length
    assert at == len(data)
    return found


def test_standard_data(a) -> None:
    data = a.good("12 00 00 00ff 00")
    assert data[:8].hex() == "000006125b181002"
    assert data[8:36] == b"GOLDHERDVIRTUAL DISK    0001"
    assert data[58:66].hex() == "00a0096004600" + "4c0"
    assert len(data) == 96


def test_removable_unit_says_so(make_unit, initiator_on) -> None:
    assert initiator_on(make_unit(1, removable=True)).good("12 00 00 0002 00").hex() == "0080"


@pytest.mark.parametrize("cdb", ["12 00 80 00ff 00", "12 01 81 00ff 00", "12 02 00 00ff 00"])
def test_wrong_page_or_cmddt(a, cdb: str) -> None:
    assert a.sense(cdb) == "05/24/00"


def test_supported_pages_ascend(a) -> None:
    assert page(a, "00").hex() == f"0000{len(PAGES):04x}" + "".join(PAGES)


@pytest.mark.parametrize("code", PAGES)
def test_page_names_itself_and_its_length(a, code: str) -> None:
    data = page(a, code)
    assert data[:2].hex() == f"00{code}"
    assert int.from_bytes(data[2:4]) == len(data) - 4


def test_passes_a_unit_attention(unit, a) -> None:
    unit.attend(_capacity_changed())
    page(a, "80")
    assert a.attention() == "06/2a/09"


def _capacity_changed():
    from goldherd.scsi.sense import CAPACITY_DATA_CHANGED

    return CAPACITY_DATA_CHANGED


def test_identification(unit, a) -> None:
    found = descriptors(page(a, "83"))
    assert found[0, 3] == (0, unit.naa)
    assert found[0, 2] == (0, unit.eui64)
    assert found[0, 1] == (0, b"GOLDHERD" + unit.serial.encode())
    assert found[1, 4] == (5, bytes([0, 0, 0, 1]))
    assert found[1, 5] == (5, bytes([0, 0, 0, 1]))
    assert found[1, 8] == (5, b"iqn.2026-11.io.goldherd:test,t,0x0001\x00\x00\x00")
    assert found[2, 8][1].rstrip(b"\x00") == b"iqn.2026-11.io.goldherd:test"
    assert all(len(value) % 4 == 0 for (_, kind), (_, value) in found.items() if kind == 8)


def test_naa_is_of_type_6_with_our_company_id(unit) -> None:
    assert unit.naa.hex().startswith("6026768")
    assert unit.eui64[8:11].hex() == "026768"


def test_identity_alone_makes_the_designators() -> None:
    def designators(identity: str, lun: int) -> tuple[str, bytes, bytes]:
        unit = LogicalUnit(MemoryImage(4096), lun=lun, target=Target("iqn.x"), identity=identity)
        return unit.serial, unit.naa, unit.eui64

    assert designators("pc-001", 0) == designators("pc-001", 1)
    assert all(one != other for one, other in zip(designators("pc-001", 0), designators("pc-002", 0), strict=True))


def test_serial_number(unit, a) -> None:
    assert page(a, "80")[4:] == unit.serial.encode()
    assert len(unit.serial) == 16


def test_block_limits(a) -> None:
    data = page(a, "b0")
    assert len(data) == 64
    assert data[4] & 0x01  # WSNZ
    assert data[5] == 255  # COMPARE AND WRITE
    assert int.from_bytes(data[8:12]) == 65536  # transfer length: 32 MiB
    assert int.from_bytes(data[20:24]) == 1 << 20  # UNMAP LBA count
    assert int.from_bytes(data[24:28]) == 256  # UNMAP descriptors
    assert data[28:36].hex() == "0000000880000000"  # granularity 4 KiB, UGAVALID
    assert int.from_bytes(data[44:48]) == 2048  # atomic transfer length


def test_thick_unit_claims_nothing_of_thin(make_unit, initiator_on) -> None:
    initiator = initiator_on(make_unit(1, thin=False))
    limits = page(initiator, "b0")
    assert not limits[4]
    assert not any(limits[20:36])
    assert not any(page(initiator, "b2")[4:])
    assert initiator.good("9e 10 0000000000000000 00000020 00 00")[14] == 0


def test_thin_unit_claims_unmap_everywhere_alike(a) -> None:
    assert page(a, "b2")[4:].hex() == "0be40200"
    assert a.good("9e 10 0000000000000000 00000020 00 00")[14] == 0xC0


def test_does_not_rotate(a) -> None:
    assert page(a, "b1")[4:8].hex() == "00010050"


def third_party_copy(initiator) -> dict[int, bytes]:
    """The descriptors of VPD page 8F by their type, each a multiple of four bytes (SPC-4 7.8.17)."""
    data = page(initiator, "8f")[4:]
    found: dict[int, bytes] = {}
    while data:
        kind, length = int.from_bytes(data[0:2]), int.from_bytes(data[2:4])
        assert length % 4 == 0
        assert len(data) >= 4 + length
        found[kind], data = data[4 : 4 + length], data[4 + length :]
    return found


def test_third_party_copy_descriptors_come_in_order(a) -> None:
    assert list(third_party_copy(a)) == [0x0000, 0x0001, 0x0004, 0x0008, 0x000D, 0x0106, 0x0108]


def test_third_party_copy_lists_the_commands_there_are(a) -> None:
    assert third_party_copy(a)[0x0001].hex() == "0d83040010111c840500030405070000"


def test_third_party_copy_tells_the_limits_of_tokens(a, make_unit, initiator_on) -> None:
    """SBC-3 table 199: what Windows looks for before it uses tokens; sizes are in blocks."""
    large = initiator_on(make_unit(1, block_size=4096))
    for initiator, size in ((a, 512), (large, 4096)):
        data = third_party_copy(initiator)[0x0000]
        assert len(data) == 0x20
        assert int.from_bytes(data[6:8]) == 64
        assert (int.from_bytes(data[8:12]), int.from_bytes(data[12:16])) == (300, 30)
        assert int.from_bytes(data[16:24]) * size == 256 << 20
        assert int.from_bytes(data[24:32]) * size == 64 << 20


def test_third_party_copy_tells_the_features_of_tokens(a) -> None:
    """Lifetimes, and the largest range: without it MAXIMUM TRANSFER LENGTH would bound it (SBC-3 5.12.3)."""
    data = third_party_copy(a)[0x0106]
    assert data[0] == 0
    assert [int.from_bytes(data[at : at + 4]) for at in (12, 16, 20)] == [30, 3600, 300]
    assert data[42:48].hex() == "00300000002c"
    assert [int.from_bytes(data[44 + at : 52 + at]) >> 20 for at in (8, 16, 24, 32)] == [256, 64, 64, 64]


def test_third_party_copy_tells_the_types_of_tokens(a) -> None:
    data = third_party_copy(a)[0x0108]
    assert data[2:4] == (128).to_bytes(2)
    assert [data[at : at + 8].hex() for at in (4, 68)] == ["0080000103000001", "ffff000102000000"]


def test_copy_group_is_that_of_the_target(a, make_unit, initiator_on) -> None:
    group = third_party_copy(a)[0x000D]
    assert group[:3].hex() == "121000"
    assert third_party_copy(initiator_on(make_unit(1)))[0x000D] == group


def test_extended_inquiry_tells_the_longest_sense_data(a) -> None:
    """MAXIMUM SUPPORTED SENSE DATA LENGTH holds for what encode() can make (SPC-4 7.8.7)."""
    longest = encode(codes.NO_SENSE._replace(information=1 << 40), descriptor=True, specific=bytes(3))
    assert page(a, "86")[13] == len(longest)


def test_mode_page_policy_is_shared_by_all_nexuses(a) -> None:
    assert page(a, "87")[4:].hex() == "3fff0000"


def test_scsi_ports_names_the_port_as_device_identification_does(unit, a) -> None:
    """VPD 88: relative port 1 and its SCSI name string, the same as in page 83 (SPC-4 7.8.14)."""
    data = page(a, "88")[4:]
    assert data[:10].hex() == "00000001000000000000"
    descriptor = data[12:]
    assert int.from_bytes(data[10:12]) == len(descriptor)
    assert descriptor in page(a, "83")
    assert descriptor[4:].rstrip(b"\x00").decode() == f"{unit.target.name},t,0x0001"
