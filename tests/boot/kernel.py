"""A Debian kernel, fetched and unpacked but never installed as this machine's own.

Knows packages and modules; what the guest does with them stands in guest/ and initramfs.py.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.cache import cached

META_PACKAGES = ("linux-image-cloud-amd64", "linux-image-amd64")
"""In order of preference; the cloud kernel is a third of the size and has ext4 built in."""


@dataclass(frozen=True)
class Kernel:
    """One unpacked kernel package."""

    folder: Path

    @property
    def image(self) -> Path:
        """The bzImage a boot loader loads."""
        return next((self.folder / "boot").glob("vmlinuz-*"))

    @property
    def modules(self) -> Path:
        """lib/modules/VERSION."""
        return next((self.folder / "lib" / "modules").iterdir())

    def modules_in_load_order(self, names: tuple[str, ...]) -> list[Path]:
        """The files of these modules with everything they depend on, each after what it needs.

        A module names its dependencies in its .modinfo section. Modules built into the kernel are left out.
        """
        files = {module_name(path.stem): path for path in self.modules.rglob("*.ko")}
        builtin = {module_name(Path(line).stem) for line in (self.modules / "modules.builtin").read_text().split()}
        order: list[str] = []

        def visit(name: str) -> None:
            if name in builtin or name in order:
                return
            found = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
            for needed in found[1].decode().split(",") if found and found[1] else ():
                visit(module_name(needed))
            order.append(name)

        for name in names:
            visit(name)
        return [files[name] for name in order]


def module_name(text: str) -> str:
    """Module names as the kernel compares them."""
    return text.replace("-", "_")


def kernel_package() -> str:
    """The real package behind the meta package, e.g. linux-image-6.1.0-40-cloud-amd64."""
    for meta in META_PACKAGES:
        answer = subprocess.run(["apt-cache", "depends", meta], capture_output=True, text=True, check=False)
        found = re.search(r"Depends: (linux-image-\d\S*)", answer.stdout)
        if found:
            return found[1]
    raise LookupError(
        "The boot tests need a Debian kernel package and apt knows none: run 'apt-get update' as root, then again."
    )


def fetch_kernel() -> Kernel:
    """The kernel from the cache, or from Debian's archive.

    apt's lists may be missing, or so old that they name a kernel that is gone: root fetches them and tries
    again.
    """
    try:
        return kernel_from_archive()
    except (LookupError, subprocess.CalledProcessError):
        if os.geteuid() != 0:
            raise
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        return kernel_from_archive()


def kernel_from_archive() -> Kernel:
    """The kernel that apt's lists name now, unpacked in the cache."""
    package = kernel_package()

    def unpack(folder: Path) -> None:
        subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=folder, check=True)
        [archive] = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
        archive.unlink()

    return Kernel(cached(package, unpack))
