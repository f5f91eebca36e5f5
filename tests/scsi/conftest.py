"""A unit over memory, and nexuses on it whose first unit attention is behind them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd import limits
from goldherd.block.memory import MemoryImage
from goldherd.files.whole import WholeFile
from goldherd.scsi.call import Reply
from goldherd.scsi.execute import execute
from goldherd.scsi.sam import Status
from goldherd.scsi.state.device import LogicalUnit, Target

TARGET = "iqn.2026-11.io.goldherd:test"
BLOCKS = 4096


class CountingImage(MemoryImage):
    """Counts what the unit asks of it."""

    def __init__(self, size_bytes: int, *, read_only: bool = False) -> None:
        super().__init__(size_bytes, read_only=read_only)
        self.flushes = 0
        self.discards: list[tuple[int, int]] = []

    def flush(self) -> None:
        self.flushes += 1

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self.discards.append((offset_bytes, length_bytes))
        self._data[offset_bytes : offset_bytes + length_bytes] = bytes(length_bytes)


class HookedImage:
    """An image whose read() is another."""

    def __init__(self, image: MemoryImage, read: object) -> None:
        self._image = image
        self.read = read

    def __getattr__(self, name: str) -> object:
        return getattr(self._image, name)


class Initiator:
    """One nexus, and a short way to send commands over it."""

    def __init__(self, unit: LogicalUnit, name: str, isid: bytes = bytes(6)) -> None:
        self.nexus = unit.target.nexus(f"iqn.2026-11.io.goldherd.node:{name}", isid)
        self.unit = unit

    def login(self) -> "Initiator":
        """Joins the unit and takes the unit attention that belongs to it."""
        self.unit.attach(self.nexus)
        self.nexus.take_attention()
        return self

    def logout(self) -> None:
        self.unit.detach(self.nexus)

    def send(self, cdb: str, data: bytes = b"", expected: int | None = None) -> Reply:
        """Executes the CDB given in hex."""
        block = bytes.fromhex(cdb).ljust(16, b"\x00")
        return execute(self.unit, self.nexus, block, data, expected_data_out=expected)

    def good(self, cdb: str, data: bytes = b"") -> bytes:
        """Executes it, and it must be GOOD."""
        reply = self.send(cdb, data)
        assert (reply.status, reply.sense.hex()) == (Status.GOOD, "")
        return reply.data_in

    def sense(self, cdb: str, data: bytes = b"", expected: int | None = None) -> str:
        """Executes it, and it must be CHECK CONDITION; gives key/ASC/ASCQ."""
        reply = self.send(cdb, data, expected)
        assert reply.status == Status.CHECK_CONDITION
        return triple(reply.sense)

    def conflicts(self, cdb: str, data: bytes = b"") -> bool:
        """Executes it and says whether it met RESERVATION CONFLICT; nothing else may go wrong."""
        reply = self.send(cdb, data)
        assert reply.status in (Status.GOOD, Status.RESERVATION_CONFLICT), reply
        return reply.status == Status.RESERVATION_CONFLICT

    def attention(self) -> str:
        """What TEST UNIT READY reports: a unit attention, or nothing."""
        reply = self.send("00 00 00 00 00 00")
        return triple(reply.sense) if reply.sense else ""


def triple(sense: bytes) -> str:
    """Key/ASC/ASCQ of fixed or descriptor sense data, as the tables of the standards write it."""
    key, asc, ascq = (sense[1], sense[2], sense[3]) if sense[0] & 0x7F == 0x72 else (sense[2], sense[12], sense[13])
    return f"{key & 0x0F:02x}/{asc:02x}/{ascq:02x}"


@pytest.fixture(autouse=True)
def quick_sanitize(monkeypatch: pytest.MonkeyPatch) -> None:
    """SANITIZE is not slowed down in tests."""
    monkeypatch.setattr(limits, "SANITIZE_SECONDS_MIN", 0.0)


@pytest.fixture
def target() -> Target:
    return Target(TARGET)


@pytest.fixture
def image() -> CountingImage:
    return CountingImage(BLOCKS * 512)


@pytest.fixture
def unit(target: Target, image: CountingImage, tmp_path: Path) -> LogicalUnit:
    return LogicalUnit(
        image, lun=0, target=target, identity="node-001", reservation_store=WholeFile(tmp_path / "reservations.json")
    )


@pytest.fixture
def filled(unit: LogicalUnit) -> LogicalUnit:
    """The unit with eight blocks that are not zeros, from LBA 100 on."""
    unit.medium.image.write(100 * 512, memoryview(b"\xaa" * 2048 + b"\xbb" * 2048))
    return unit


@pytest.fixture
def make_unit(target: Target) -> Callable[..., LogicalUnit]:
    """Makes further units of the same target: make_unit(lun, **options)."""

    def make(lun: int, *, size: int = BLOCKS * 512, **options: object) -> LogicalUnit:
        image = options.pop("image", None) or CountingImage(size)
        return LogicalUnit(image, lun=lun, target=target, identity=f"unit-{lun}", **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def a(unit: LogicalUnit) -> Initiator:
    return Initiator(unit, "a").login()


@pytest.fixture
def b(unit: LogicalUnit) -> Initiator:
    return Initiator(unit, "b").login()


@pytest.fixture
def c(unit: LogicalUnit) -> Initiator:
    return Initiator(unit, "c").login()


@pytest.fixture
def initiator_on() -> Callable[[LogicalUnit], Initiator]:
    """Logs in to another unit: initiator_on(unit)."""
    return lambda unit: Initiator(unit, "other").login()
