"""A disk that could not bring written data to stable storage, as the slow path answers for it."""

import errno

import pytest
from goldherd.errors import raise_for_errno

from tests.scsi.conftest import BLOCKS, CountingImage, Initiator, triple


class SickImage(CountingImage):
    """Its next flush fails; the one after would succeed, as that of a kernel that has dropped the data."""

    number: int | None = None

    def flush(self) -> None:
        super().flush()
        number, self.number = self.number, None
        if number is not None:
            raise OSError(number, "sick")


@pytest.fixture
def sick(make_unit):
    """A unit over such a disk, and a nexus on it."""
    image = SickImage(BLOCKS * 512)
    unit = make_unit(1, image=image)
    return image, Initiator(unit, "a").login()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.ENOMEM])
@pytest.mark.parametrize("flush", ["35", "91", "1b 00 00 00 00"], ids=["SYNC CACHE 10", "SYNC CACHE 16", "STOP"])
def test_a_flush_that_failed_fails_for_ever(sick, number: int, flush: str) -> None:
    image, a = sick
    image.number = number
    for _ in range(3):
        assert a.sense(flush) == "03/0c/00"
    assert image.flushes == 1
    a.good("28 00 00 00 00 00 00 00 01")


def test_a_failed_disk_is_write_protected(sick) -> None:
    image, a = sick
    block = bytes(512)
    image.number = errno.EIO
    assert a.sense("2a 08 00 00 00 00 00 00 01", block) == "03/0c/00", "FUA: the write is not on the medium"
    for cdb in ("2a 00 00 00 00 00 00 00 01", "2a 08 00 00 00 00 00 00 01", "41 00 00 00 00 00 00 00 01"):
        assert a.sense(cdb, block) == "07/27/00"
    assert a.sense(
        "42 00 00 00 00 00 00 00 18", bytes.fromhex("0016 0010 00000000 0000000000000000 00000001 00000000")
    ) == ("07/27/00")
    assert a.good("1a 00 3f 00 ff")[2] & 0x80, "WP in the mode parameter header"


@pytest.mark.parametrize(
    ("number", "sense"), [(errno.EROFS, "07/27/00"), (errno.EFBIG, "07/27/07"), (errno.EIO, "03/0c/00")]
)
def test_an_error_of_a_write_has_the_sense_of_its_errno_on_the_slow_path_too(
    make_unit, monkeypatch: pytest.MonkeyPatch, number: int, sense: str
) -> None:
    """WRITE SAME goes through the Python door of a compiled image, whose errors are sentences."""
    unit = make_unit(1)
    a = Initiator(unit, "a").login()

    def refuse(offset: int, data: memoryview) -> None:
        raise_for_errno(-number, "disk", "write data")

    monkeypatch.setattr(unit.medium, "write", refuse)
    assert a.sense("41 00 00 00 00 00 00 00 01", b"x" * 512) == sense


def test_the_data_plane_is_told_to_refuse(sick) -> None:
    image, a = sick
    image.number = errno.EIO
    a.sense("35")
    a.unit.changed()
    assert triple(a.send("2a 00 00 00 00 00 00 00 01", bytes(512)).sense) == "07/27/00"
