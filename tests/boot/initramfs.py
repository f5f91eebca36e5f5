"""The first root of the guest: busybox, iscsistart and the modules between them and the iSCSI disk.

The archive is the "newc" cpio of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst,
written here so that no file needs an owner or a device node on the machine that runs the tests.
"""

import gzip
import re
import stat
import subprocess
from pathlib import Path

from tests.boot.kernel import Kernel

MODULES = ("virtio_pci", "virtio_net", "sd_mod", "iscsi_tcp", "iscsi_ibft", "ext4")
BUSYBOX = Path("/bin/busybox")
ISCSISTART = Path("/sbin/iscsistart")
GUEST = Path(__file__).parent / "guest"
FOLDERS = ("bin", "sbin", "lib64", "dev", "proc", "sys", "run", "modules", "disk", "etc")


class Archive:
    """A cpio archive in the making."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._entries = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """One entry; name and data are each padded to four bytes.

        `device` is (major, minor) of a device node.
        """
        self._entries += 1
        path = name.encode() + b"\0"
        fields = (self._entries, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]

    def add_folder(self, name: str) -> None:
        """A folder; those above it must have been added before."""
        self.add(name, stat.S_IFDIR | 0o755)

    def add_program(self, name: str, data: bytes) -> None:
        """A file that can be run."""
        self.add(name, stat.S_IFREG | 0o755, data)

    def finish(self) -> bytes:
        """The whole archive, compressed; quickly, for the guest's slow disk is quicker than our patience."""
        self.add("TRAILER!!!", 0)
        return gzip.compress(b"".join(self._parts), 6, mtime=0)


def libraries_of(program: Path) -> list[Path]:
    """Every shared library (and the loader) a program needs."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"(?:=> )?(/\S+) \(0x", listing)]


def build_initramfs(kernel: Kernel) -> bytes:
    """The initramfs for this kernel; its /init is guest/initramfs-init."""
    archive = Archive()
    for folder in FOLDERS:
        archive.add_folder(folder)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add_program("init", (GUEST / "initramfs-init").read_bytes())
    archive.add_program("bin/busybox", BUSYBOX.read_bytes())
    archive.add_program("sbin/iscsistart", ISCSISTART.read_bytes())
    for library in libraries_of(ISCSISTART):
        # The loader is asked for by its full path, everything else by name from /lib64.
        archive.add_program(f"lib64/{library.name}", library.read_bytes())
    modules = kernel.modules_in_load_order(MODULES)
    for module in modules:
        archive.add_program(f"modules/{module.name}", module.read_bytes())
    archive.add("modules/order", stat.S_IFREG | 0o644, "\n".join(module.name for module in modules).encode())
    return archive.finish()
