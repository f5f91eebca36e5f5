"""The golden disk of the boot tests: a small Linux that boots over iSCSI, made without root or loop devices.

Layout: a master boot record, a FAT partition from which syslinux loads kernel and initramfs through INT 13,
and an ext4 partition that becomes the root once iscsistart has logged in.
"""

import hashlib
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.boot.initramfs import BUSYBOX, GUEST, ISCSISTART, build_initramfs
from tests.boot.kernel import Kernel, fetch_kernel
from tests.support.cache import cached, content_key

MIB = 1 << 20
SECTOR_BYTES = 512
BOOT_START, BOOT_BYTES = 1 * MIB, 32 * MIB
ROOT_START, ROOT_BYTES = 33 * MIB, 62 * MIB
DISK_BYTES = 96 * MIB
FAT16_LBA, LINUX = 0x0E, 0x83
MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
ROOT_FOLDERS = ("bin", "sbin", "dev", "proc", "sys", "run", "data")


@dataclass(frozen=True)
class Golden:
    """One golden disk in two forms, made from the same bytes."""

    folder: Path

    @property
    def raw(self) -> Path:
        """The disk as it is."""
        return self.folder / "golden.raw"

    @property
    def vhd(self) -> Path:
        """The same disk as a dynamic VHD, written by qemu-img."""
        return self.folder / "golden.vhd"


def run(*command: str | Path, **environment: str) -> None:
    """Runs a tool; its output is shown only when it fails."""
    done = subprocess.run(
        command,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {done.stdout}{done.stderr}")


def partition_entry(*, active: bool, kind: int, start: int, length: int) -> bytes:
    """One entry of the partition table; CHS fields say "see the LBA"."""
    chs = b"\xfe\xff\xff"
    flag = b"\x80" if active else b"\0"
    return flag + chs + bytes([kind]) + chs + struct.pack("<II", start // SECTOR_BYTES, length // SECTOR_BYTES)


def master_boot_record() -> bytes:
    """Syslinux's boot code, a disk signature and the two partitions."""
    table = partition_entry(active=True, kind=FAT16_LBA, start=BOOT_START, length=BOOT_BYTES)
    table += partition_entry(active=False, kind=LINUX, start=ROOT_START, length=ROOT_BYTES)
    code = MBR_CODE.read_bytes()[:440].ljust(440, b"\0")
    return code + b"herd\0\0" + table.ljust(64, b"\0") + b"\x55\xaa"


def make_boot_partition(place: Path, kernel: Kernel, work: Path) -> None:
    """A FAT file system with kernel, initramfs and syslinux."""
    initramfs = work / "initramfs"
    initramfs.write_bytes(build_initramfs(kernel))
    with place.open("wb") as file:
        file.truncate(BOOT_BYTES)
    run("mkfs.fat", "-F", "16", "-n", "GOLDHERD", "-h", str(BOOT_START // SECTOR_BYTES), place)
    for source, name in (
        (kernel.image, "vmlinuz"),
        (initramfs, "initramfs"),
        (GUEST / "syslinux.cfg", "syslinux.cfg"),
    ):
        run("mcopy", "-i", place, source, f"::{name}")
    run("syslinux", "--install", place)


def make_root_partition(place: Path, work: Path) -> None:
    """An ext4 file system with busybox, guest/root-init and four MiB of data whose hash the guest checks."""
    root = work / "root"
    for folder in ROOT_FOLDERS:
        (root / folder).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    shutil.copy(GUEST / "root-init", root / "sbin" / "init")
    (root / "sbin" / "init").chmod(0o755)
    data = random.Random("golden").randbytes(4 * MIB)
    (root / "data" / "golden.bin").write_bytes(data)
    (root / "data" / "golden.sha256").write_text(hashlib.sha256(data).hexdigest() + "\n")
    run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", root, place, f"{ROOT_BYTES // 1024}k")


def make_golden(folder: Path, kernel: Kernel) -> None:
    """Puts the parts of the disk together and converts it."""
    work = folder / "work"
    work.mkdir()
    make_boot_partition(work / "boot.fat", kernel, work)
    make_root_partition(work / "root.ext4", work)
    golden = Golden(folder)
    with golden.raw.open("wb") as disk:
        disk.write(master_boot_record())
        for start, part in ((BOOT_START, work / "boot.fat"), (ROOT_START, work / "root.ext4")):
            disk.seek(start)
            disk.write(part.read_bytes())
        disk.truncate(DISK_BYTES)
    run("fallocate", "--dig-holes", golden.raw)
    run(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vpc",
        "-o",
        "subformat=dynamic,force_size=on",
        golden.raw,
        golden.vhd,
    )
    shutil.rmtree(work)
    for form in (golden.raw, golden.vhd):
        form.chmod(0o444)


def fetch_golden() -> Golden:
    """The golden disk from the cache, or newly made; a changed recipe or tool makes a new one."""
    kernel = fetch_kernel()
    makers = tuple(Path(__file__).with_name(name) for name in ("kernel.py", "initramfs.py", "golden.py"))
    recipe = (*makers, *sorted(GUEST.iterdir()), BUSYBOX, ISCSISTART, MBR_CODE)
    name = f"golden-{content_key((kernel.image.name, *recipe))}"
    return Golden(cached(name, lambda folder: make_golden(folder, kernel)))
