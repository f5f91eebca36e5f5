"""Thin provisioning thresholds (SBC-3 4.7.3.8): mode page 1Ch/02h, log page 0Ch, VPD page B2h, 06/38/07."""

import subprocess
from pathlib import Path

import pytest
from goldherd.limits import THRESHOLD_SET_BYTES
from goldherd.scsi.state.space import UnitSpace, threshold_exponent

GIB = 1 << 30
SPACE = UnitSpace(available_bytes=5 * GIB, used_bytes=3 * GIB + 1, soft_bytes=10 * GIB)
REACHED = "06/38/07"


def test_log_page_is_listed_when_the_space_is_known(unit, a) -> None:
    assert a.sense("4d 00 0c 00 000000 00ff 00") == "05/24/00"
    unit.note_space(SPACE, reached=False)
    assert a.good("4d 00 00 00 000000 00ff 00").hex() == "00000002000c"
    assert a.good("4d 00 00 ff 000000 00ff 00").hex() == "40ff0006000000ff0c00"


def test_log_page_counts_threshold_sets(unit, a) -> None:
    unit.note_space(SPACE, reached=False)
    page = a.good("4d 00 4c 00 000000 00ff 00")
    assert page.hex() == (
        "0c000018"
        "00010308" + (5 * 1024).to_bytes(4).hex() + "02000000"
        "00020308" + (3 * 1024).to_bytes(4).hex() + "01000000"
    )
    assert a.good("4d 00 4c 00 000000 0008 00") == page[:8]


def test_sg_logs_reads_the_log_page(unit, a, tmp_path: Path) -> None:
    unit.note_space(SPACE, reached=False)
    file = tmp_path / "page"
    file.write_bytes(a.good("4d 00 4c 00 000000 00ff 00"))
    said = subprocess.run(["sg_logs", "--raw", f"--in={file}"], capture_output=True, text=True, check=True).stdout
    assert "Available LBA mapping threshold resource count: 5120" in said
    assert "Used LBA mapping threshold resource count: 3072" in said


@pytest.mark.parametrize("block_size", [512, 4096])
def test_threshold_set_is_a_power_of_two_of_blocks(block_size: int) -> None:
    assert block_size << threshold_exponent(block_size) == THRESHOLD_SET_BYTES


def test_vpd_page_names_the_threshold_exponent(a) -> None:
    assert a.good("12 01 b2 00ff 00")[4] == threshold_exponent(512)


def test_mode_page_has_one_threshold_of_the_available_space(unit, a) -> None:
    page = a.good("1a 08 1c 02 ff 00")[4:]
    assert page.hex() == "5c020014" + "00" * 12 + "0001000000000000"
    unit.note_space(SPACE, reached=False)
    page = a.good("1a 08 1c 02 ff 00")[4:]
    assert page.hex() == "5c020014" + "00" * 12 + "80010000" + (10 * 1024).to_bytes(4).hex()
    assert a.good("1a 08 5c 02 ff 00")[8:] == bytes(20), "nothing of it can be changed"
    unit.reset()
    assert a.good("1a 08 1c 02 ff 00")[4:] == page, "a reset disables no threshold"


def test_reached_threshold_is_a_unit_attention_once(unit, a, b) -> None:
    unit.note_space(SPACE, reached=True)
    assert [a.attention(), a.attention(), b.attention()] == [REACHED, "", REACHED]
    unit.note_space(SPACE, reached=False)
    assert a.attention() == ""


def test_initiator_may_do_without(unit, a, b) -> None:
    page = bytearray(a.good("1a 08 01 00 ff 00")[4:])
    assert page[7] == 0x80, "LBPERE"
    page[7] = 0
    a.good("15 10 00 00 10 00", bytes(4) + bytes(page))
    assert b.attention() == "06/2a/01"
    unit.note_space(SPACE, reached=True)
    assert (a.attention(), b.attention()) == ("", "")


def test_thick_unit_has_no_threshold(make_unit) -> None:
    thick = make_unit(5, thin=False)
    thick.note_space(SPACE, reached=True)
    assert thick.space is None
