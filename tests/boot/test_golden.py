"""The parts of the bootable disk, looked at by programs that nobody here wrote."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.boot.golden import BOOT_START, ROOT_BYTES, ROOT_START, Golden, fetch_golden
from tests.boot.initramfs import MODULES, Archive
from tests.boot.kernel import Kernel, fetch_kernel, module_name

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return fetch_golden()


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return fetch_kernel()


def printed(*command: str, given: bytes = b"") -> str:
    """What a program prints."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(command, input=given, capture_output=True, check=True, env={**os.environ, "PATH": path})
    return done.stdout.decode()


def test_boot_partition_holds_loader_kernel_and_initramfs(golden: Golden) -> None:
    listing = printed("mdir", "-a", "-b", "-i", f"{golden.raw}@@{BOOT_START}", "::")
    assert {"vmlinuz", "initramfs", "syslinux.cfg", "ldlinux.sys"} <= {
        line.rpartition("/")[2] for line in listing.split()
    }


def test_root_partition_is_a_clean_ext4(golden: Golden, tmp_path: Path) -> None:
    partition = tmp_path / "root.ext4"
    with golden.raw.open("rb") as disk:
        disk.seek(ROOT_START)
        partition.write_bytes(disk.read(ROOT_BYTES))
    printed("e2fsck", "-fn", str(partition))
    assert "golden.sha256" in printed("debugfs", "-R", "ls -p /data", str(partition))


def test_vhd_holds_the_same_bytes_as_the_raw_disk(golden: Golden) -> None:
    answer = printed("qemu-img", "compare", "-U", "-f", "raw", "-F", "vpc", str(golden.raw), str(golden.vhd))
    assert "Images are identical." in answer


def test_module_comes_after_everything_it_needs(kernel: Kernel) -> None:
    order = [module_name(path.stem) for path in kernel.modules_in_load_order(MODULES)]
    assert order.index("libiscsi") < order.index("iscsi_tcp")
    assert order.index("scsi_transport_iscsi") < order.index("libiscsi")
    assert order.index("iscsi_boot_sysfs") < order.index("iscsi_ibft")
    assert len(order) == len(set(order))


def test_archive_is_read_by_cpio() -> None:
    archive = Archive()
    archive.add_folder("sbin")
    archive.add_program("sbin/init", b"#!/bin/sh\n")
    listing = printed("sh", "-c", "zcat | cpio --list --verbose --quiet", given=archive.finish())
    assert [line.split()[0] + " " + line.split()[-1] for line in listing.splitlines()] == [
        "drwxr-xr-x sbin",
        "-rwxr-xr-x sbin/init",
    ]
