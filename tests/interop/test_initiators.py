"""libiscsi's tools and QEMU's initiator against an exported disk: each does its job and finds every byte."""

from pathlib import Path

import pytest

from bench.pattern import words
from tests.interop.conftest import DISK_BYTES, run_tool
from tests.support.targets import Export

pytestmark = pytest.mark.interop


def test_iscsi_ls_discovers_the_target_and_its_luns(export: Export) -> None:
    listing = run_tool("iscsi-ls", "--show-luns", f"iscsi://{export.portal.host}:{export.portal.port}")
    assert f"Target:{export.iqn}" in listing
    assert "Type:DIRECT_ACCESS" in listing
    assert "(Size:63M)" in listing  # iscsi-ls rounds the last block's address down, not the size


def test_iscsi_inq_reads_standard_inquiry_data(export: Export) -> None:
    answer = run_tool("iscsi-inq", export.url())
    assert "Peripheral Device Type:DIRECT_ACCESS" in answer
    assert "Vendor:" in answer


def test_iscsi_inq_reads_device_identification(export: Export) -> None:
    answer = run_tool("iscsi-inq", "-e", "1", "-c", "131", export.url())
    assert "Designator Type:" in answer


def test_iscsi_readcapacity16_tells_the_size(export: Export) -> None:
    answer = run_tool("iscsi-readcapacity16", export.url())
    assert f"RETURNED LOGICAL BLOCK ADDRESS:{DISK_BYTES // 512 - 1}" in answer
    assert "LOGICAL BLOCK LENGTH IN BYTES:512" in answer


def test_qemu_img_converts_the_whole_disk(export: Export, tmp_path: Path) -> None:
    copy = tmp_path / "copy.raw"
    run_tool("qemu-img", "convert", "-O", "raw", export.url(), copy)
    assert copy.read_bytes() == words(0, DISK_BYTES)


def test_qemu_io_reads_back_what_it_wrote(export: Export) -> None:
    script = (
        "write -P 0xa5 1M 3M",
        "flush",
        "read -P 0xa5 1M 3M",
        "write -P 0x5a 4608 512",
        "read -P 0x5a 4608 512",
    )
    commands = [word for line in script for word in ("-c", line)]
    answer = run_tool("qemu-io", "-f", "raw", *commands, export.url())
    assert "Pattern verification failed" not in answer


def test_qemu_io_writes_land_in_the_file_and_nowhere_else(export: Export, disk: Path) -> None:
    run_tool("qemu-io", "-f", "raw", "-c", "write -P 0xa5 1M 64k", "-c", "flush", export.url())
    export.stop()
    expected = bytearray(words(0, DISK_BYTES))
    expected[1 << 20 : (1 << 20) + 65536] = b"\xa5" * 65536
    assert disk.read_bytes() == expected


def test_qemu_io_writes_of_zeros_read_back_as_zeros(export: Export) -> None:
    script = ("write -z -u 8M 1M", "flush", "read -P 0 8M 1M")
    commands = [word for line in script for word in ("-c", line)]
    answer = run_tool("qemu-io", "-f", "raw", "-d", "unmap", *commands, export.url())
    assert "Pattern verification failed" not in answer


def test_lun_that_is_not_there_is_refused(export: Export) -> None:
    with pytest.raises(AssertionError, match=r"(?i)lun|failed|not"):
        run_tool("qemu-img", "info", export.url(lun=7))
