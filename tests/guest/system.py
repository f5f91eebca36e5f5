"""The guest's disk: an ext4 file system with open-iscsi, multipath-tools, sg3-utils, fio and what they need.

Programs come from the Debian packages of this machine, with every shared library they name; multipath-tools, whose
installation would start a service here, is fetched and only unpacked.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.boot.golden import run
from tests.boot.initramfs import BUSYBOX, Archive
from tests.boot.kernel import Kernel, fetch_kernel
from tests.support.cache import cached, content_key

GUEST: Final = Path(__file__).parent / "guest"
UNPACKED: Final = ("multipath-tools", "liburcu8", "sg3-utils-udev")
PROGRAMS: Final = (
    "/usr/bin/bash",
    "/usr/bin/udevadm",
    "/usr/bin/fio",
    "/usr/sbin/dmsetup",
    "/usr/sbin/blockdev",
    "/usr/sbin/iscsid",
    "/usr/sbin/iscsiadm",
)
TOOLS: Final = "sg_*"
UDEV_RULES: Final = (
    "50-udev-default.rules",
    "55-dm.rules",
    "60-block.rules",
    "60-persistent-storage.rules",
    "60-persistent-storage-dm.rules",
    "95-dm-notify.rules",
)
UDEV_HELPERS: Final = ("scsi_id",)
MODULES: Final = (
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "sd_mod",
    "sg",
    "crc32c_intel",
    "iscsi_tcp",
    "dm_multipath",
    "dm_round_robin",
    "dm_service_time",
    "ext4",
)
LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"
FOLDERS: Final = ("dev", "proc", "sys", "run", "tmp", "root", "modules", "var/lib", "etc/iscsi", "usr/bin", LIBRARIES)
MERGED: Final = {
    "bin": "usr/bin",
    "sbin": "usr/bin",
    "lib": "usr/lib",
    "usr/sbin": "bin",
    "lib64": LIBRARIES,
    "var/run": "/run",
    "var/lock": "/run/lock",
}
DISK_BYTES: Final = 384 << 20


def fetch_packages(folder: Path) -> None:
    """Unpacks the packages that must not be installed here."""
    download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *UNPACKED]
    subprocess.run(download, cwd=folder, check=True)
    for archive in folder.glob("*.deb"):
        run("dpkg-deb", "-x", archive, folder)
        archive.unlink()


def needed(program: Path, folders: list[Path]) -> list[Path]:
    """The shared libraries of a program; those of unpacked packages are looked for in `folders` first."""
    where = {"LD_LIBRARY_PATH": ":".join(map(str, folders))}
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, env=where).stdout
    missing = re.findall(r"(\S+) => not found", listing)
    if missing:
        raise RuntimeError(f"{program} needs {', '.join(missing)}, which no package here has")
    return [Path(path) for path in re.findall(r"(?:=> )?(/\S+) \(0x", listing)]


def make_tree(root: Path, packages: Path, kernel: Kernel) -> None:
    """Everything under one folder, as the guest will see it."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, place in MERGED.items():
        (root / name).symlink_to(place)
    own = [packages / "lib", packages / LIBRARIES, packages / "lib/x86_64-linux-gnu"]
    programs = [Path(program) for program in PROGRAMS]
    programs += sorted(Path("/usr/bin").glob(TOOLS))
    programs += [packages / "sbin" / name for name in ("multipath", "multipathd")]
    plugins = sorted((packages / "lib/multipath").glob("*.so"))
    for program in programs:
        shutil.copy(program, root / "usr/bin" / program.name)
    shutil.copytree(packages / "lib/multipath", root / "usr/lib/multipath")
    libraries = {library for program in (*programs, *plugins) for library in needed(program, own)}
    for library in libraries:
        shutil.copy(library.resolve(), root / LIBRARIES / library.name)
    rules = root / "usr/lib/udev/rules.d"
    rules.mkdir(parents=True)
    for rule in (*(Path("/usr/lib/udev/rules.d") / name for name in UDEV_RULES), *packages.rglob("*.rules")):
        shutil.copy(rule, rules)
    for helper in UDEV_HELPERS:
        shutil.copy(Path("/usr/lib/udev") / helper, root / "usr/lib/udev")
    shutil.copy(BUSYBOX, root / "usr/bin/busybox")
    shutil.copy("/etc/iscsi/iscsid.conf", root / "etc/iscsi")
    shutil.copytree(GUEST / "etc", root / "etc", dirs_exist_ok=True)
    for script in ("init", "common", "checks", "load"):
        shutil.copy(GUEST / script, root / "usr/bin" / script)
        (root / "usr/bin" / script).chmod(0o755)
    modules = kernel.modules_in_load_order(MODULES)
    for module in modules:
        shutil.copy(module, root / "modules")
    (root / "modules/order").write_text("".join(f"{module.name}\n" for module in modules))


def make_initramfs(kernel: Kernel) -> bytes:
    """Just enough to mount the disk."""
    archive = Archive()
    for folder in ("bin", "dev", "proc", "sys", "root", "modules"):
        archive.add_folder(folder)
    archive.add("dev/console", 0o020600, device=(5, 1))
    archive.add_program("init", (GUEST / "initramfs-init").read_bytes())
    archive.add_program("bin/busybox", BUSYBOX.read_bytes())
    modules = kernel.modules_in_load_order(("virtio_pci", "virtio_blk", "ext4"))
    for module in modules:
        archive.add_program(f"modules/{module.name}", module.read_bytes())
    archive.add("modules/order", 0o100644, "\n".join(module.name for module in modules).encode())
    return archive.finish()


def make_system(folder: Path, kernel: Kernel) -> None:
    """root.ext4 and initramfs."""
    packages, root = folder / "packages", folder / "root"
    packages.mkdir()
    root.mkdir()
    fetch_packages(packages)
    make_tree(root, packages, kernel)
    (folder / "initramfs").write_bytes(make_initramfs(kernel))
    size = f"{DISK_BYTES >> 10}k"
    run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", root, folder / "root.ext4", size)
    run("fallocate", "--dig-holes", folder / "root.ext4")
    shutil.rmtree(packages)
    shutil.rmtree(root)


def fetch_system() -> Path:
    """The folder with root.ext4 and initramfs, from the cache or newly made; a changed recipe makes a new one."""
    kernel = fetch_kernel()
    recipe = (Path(__file__), *sorted(path for path in GUEST.rglob("*") if path.is_file()), *map(Path, PROGRAMS))
    name = f"guest-{content_key((kernel.image.name, *recipe))}"
    return cached(name, lambda folder: make_system(folder, kernel))
