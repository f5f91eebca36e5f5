"""Prebuilt answers agree with what the commands themselves say."""

import pytest
from goldherd.scsi.prebuilt import Prebuilt, prebuilt
from goldherd.scsi.sam import Status


def match(entries: list[Prebuilt], cdb: bytes) -> bytes | None:
    """What the data plane does: compares under the mask, cuts to the allocation length."""
    for entry in entries:
        if bytes(one & other for one, other in zip(cdb, entry.mask, strict=True)) == entry.cdb:
            if not entry.allocation_bytes:
                return entry.answer
            length = cdb[entry.allocation_at : entry.allocation_at + entry.allocation_bytes]
            return entry.answer[: int.from_bytes(length)]
    return None


CDBS = [
    "00",
    "03 00 00 00 ff 00",
    "12 00 00 0024 00",
    "12 00 00 00ff 00",
    "25",
    "9e 10 0000000000000000 00000020 00 00",
    "a0 00 00 000000 00000010 00 00",
    "1a 00 3f 00 ff 00",
    "1a 08 08 00 c0 00",
    "5a 00 0a 00 000000 0040 00",
    *(f"12 01 {page} 00ff 00" for page in ("00", "80", "83", "86", "8f", "b0", "b1", "b2")),
    "a3 0c 00 00 0000 00001000 00 00",
    "a3 0c 80 00 0000 00001000 00 00",
]


@pytest.mark.parametrize("text", CDBS)
def test_prebuilt_is_what_the_command_says(unit, a, text: str) -> None:
    cdb = bytes.fromhex(text).ljust(16, b"\x00")
    assert match(prebuilt(unit), cdb) == a.good(text)


@pytest.mark.parametrize(
    "text",
    ["00 00 00 00 00 04", "12 00 80 00ff 00", "12 02 00 00ff 00", "25 00 00000001", "1a 00 ff 00 ff 00"],
)
def test_what_is_refused_is_not_prebuilt(unit, a, text: str) -> None:
    cdb = bytes.fromhex(text).ljust(16, b"\x00")
    assert match(prebuilt(unit), cdb) is None
    assert a.send(text).status == Status.CHECK_CONDITION


def test_ignored_bytes_do_not_matter(unit) -> None:
    assert match(prebuilt(unit), bytes.fromhex("12 00 00 00ff c0").ljust(16, b"\xee"))


def test_a_changed_mode_page_asks_for_new_answers(unit, a) -> None:
    made: list[list[Prebuilt]] = []
    unit.on_change = lambda: made.append(prebuilt(unit))
    a.good("15 10 00 00 18 00", bytes(4) + bytes([0x08, 0x12]) + bytes(18))
    assert match(made[-1], bytes.fromhex("1a 08 08 00 ff 00").ljust(16, b"\x00")) == a.good("1a 08 08 00 ff 00")
