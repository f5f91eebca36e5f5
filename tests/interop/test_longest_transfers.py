"""libiscsi against what VPD page B0h promises: a command of MAXIMUM TRANSFER LENGTH works, whichever command it is."""

import ctypes
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from goldherd.limits import TRANSFER_BYTES_MAX

from bench.pattern import words
from tests.interop.conftest import DISK_BYTES
from tests.support.targets import Export

pytestmark = pytest.mark.interop

NORMAL_SESSION = 2
GOOD, CHECK_CONDITION = 0, 2
BLOCK = 512


class Task(ctypes.Structure):
    """The beginning of libiscsi's struct scsi_task."""

    _fields_ = [("status", ctypes.c_int), ("cdb_size", ctypes.c_int), ("xfer_dir", ctypes.c_int)]


class Initiator:
    """A session of libiscsi."""

    def __init__(self, portal: str, target: str) -> None:
        self._library = ctypes.CDLL("libiscsi.so.7")
        for name in ("iscsi_create_context", "iscsi_get_error"):
            getattr(self._library, name).restype = ctypes.c_void_p if "create" in name else ctypes.c_char_p
        self._context = ctypes.c_void_p(self._library.iscsi_create_context(b"iqn.2026-11.io.goldherd.node:libiscsi"))
        self._do("iscsi_set_targetname", target.encode())
        self._do("iscsi_set_session_type", NORMAL_SESSION)
        self._do("iscsi_full_connect_sync", portal.encode(), 0)

    def _do(self, name: str, *arguments: Any) -> None:
        result = getattr(self._library, name)(self._context, *arguments)
        assert result == 0, self._library.iscsi_get_error(self._context).decode()

    def status(self, name: str, *arguments: Any) -> int:
        """Runs a synchronous command of LUN 0 and gives its status."""
        function = getattr(self._library, f"iscsi_{name}_sync")
        function.restype = ctypes.POINTER(Task)
        task = function(self._context, 0, *arguments)
        assert task, self._library.iscsi_get_error(self._context).decode()
        status = int(task.contents.status)
        self._library.scsi_free_scsi_task(task)
        return status

    def close(self) -> None:
        """Logs out, once."""
        if self._context:
            self._do("iscsi_logout_sync")
            self._library.iscsi_destroy_context(self._context)
            self._context = ctypes.c_void_p()


@pytest.fixture
def initiator(export: Export) -> Iterator[Initiator]:
    with closing(Initiator(f"{export.portal.host}:{export.portal.port}", export.iqn)) as session:
        yield session


LBA_16, LBA_12 = ctypes.c_uint64(8), ctypes.c_uint32(8)


@pytest.fixture(scope="module")
def there() -> bytes:
    """What the disk holds from LBA 8 on."""
    return words(8 * BLOCK, TRANSFER_BYTES_MAX)


@pytest.fixture(scope="module")
def other(there: bytes) -> bytes:
    """The same with another last byte."""
    return there[:-1] + bytes([there[-1] ^ 1])


@pytest.mark.parametrize(("name", "lba"), [("verify16", LBA_16), ("verify12", LBA_12)])
def test_verify_compares_the_longest_transfer(
    initiator: Initiator, there: bytes, other: bytes, name: str, lba: Any
) -> None:
    assert initiator.status(name, there, len(there), lba, 0, 0, 1, BLOCK) == GOOD
    assert initiator.status(name, other, len(other), lba, 0, 0, 1, BLOCK) == CHECK_CONDITION


@pytest.mark.parametrize(
    ("name", "lba", "rest"),
    [
        ("write16", LBA_16, (0, 0, 0, 0, 0)),
        ("write12", LBA_12, (0, 0, 0, 0, 0)),
        ("writeverify16", LBA_16, (0, 0, 1, 0)),
        ("writeverify12", LBA_12, (0, 0, 1, 0)),
    ],
)
def test_writes_take_the_longest_transfer(
    initiator: Initiator, export: Export, disk: Path, other: bytes, name: str, lba: Any, rest: tuple[int, ...]
) -> None:
    assert initiator.status(name, lba, other, len(other), BLOCK, *rest) == GOOD
    initiator.close()
    export.stop()
    assert disk.read_bytes() == words(0, 8 * BLOCK) + other + words(
        8 * BLOCK + len(other), DISK_BYTES - 8 * BLOCK - len(other)
    )


def test_orwrite_takes_the_longest_transfer(initiator: Initiator, export: Export, disk: Path, there: bytes) -> None:
    ones = b"\x0f" * len(there)
    assert initiator.status("orwrite", LBA_16, ones, len(ones), BLOCK, 0, 0, 0, 0, 0) == GOOD
    initiator.close()
    export.stop()
    expected = int.from_bytes(there) | int.from_bytes(ones)
    assert disk.read_bytes()[8 * BLOCK : 8 * BLOCK + len(there)] == expected.to_bytes(len(there))


def test_transfer_beyond_the_longest_is_refused(initiator: Initiator, there: bytes) -> None:
    longer = there + bytes(BLOCK)
    assert initiator.status("verify16", longer, len(longer), LBA_16, 0, 0, 1, BLOCK) == CHECK_CONDITION
    assert initiator.status("orwrite", LBA_16, longer, len(longer), BLOCK, 0, 0, 0, 0, 0) == CHECK_CONDITION
