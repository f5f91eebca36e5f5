"""Files that hold a disk in another program's wrapping: known by their marks, so that none is taken for a raw disk.

A raw disk may hold any bytes, because its guest writes them. A file with one of these marks is therefore neither
served nor imported as a raw disk until the administrator says that it is one. Knows nothing of what is inside.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONVERT: Final = "convert it with 'qemu-img convert -O raw'"
UNPACK: Final = "unpack it first"


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of wrapping."""

    name: str
    """What people call it."""
    advice: str = CONVERT
    """What makes a raw disk of it."""
    heads: tuple[tuple[int, bytes], ...] = ()
    """(offset, bytes) of marks at the start; one is enough."""
    tails: tuple[tuple[int, bytes], ...] = ()
    """(bytes before the end, bytes) of marks at the end; one is enough."""
    suffixes: frozenset[str] = frozenset()
    """Ends of names that promise it, in lower case."""
    format: str | None = None
    """The format of goldherd that opens it when its plugin is there."""


def _suffixes(*names: str) -> frozenset[str]:
    return frozenset(names)


CONTAINERS: Final = (
    Container(
        "VHD",
        heads=((0, b"conectix"),),
        tails=((512, b"conectix"), (511, b"conectix")),
        suffixes=_suffixes(".vhd", ".avhd", ".vpc"),
        format="vhd",
    ),
    Container("VHDX", heads=((0, b"vhdxfile"),), suffixes=_suffixes(".vhdx", ".avhdx", ".vhds"), format="vhdx"),
    Container(
        "QCOW2",
        heads=((0, b"QFI\xfb"),),
        suffixes=_suffixes(".qcow2", ".qcow"),
        format="qcow2",
    ),
    Container(
        "VMDK",
        # Hosted sparse, ESX sparse, SESparse (its number 0xCAFEBABE, little endian) and a descriptor of extents.
        heads=((0, b"KDMV"), (0, b"COWD"), (0, b"\xbe\xba\xfe\xca\0\0\0\0"), (0, b"# Disk DescriptorFile")),
        suffixes=_suffixes(".vmdk"),
        format="vmdk",
    ),
    Container("VDI", heads=((64, b"\x7f\x10\xda\xbe"),), suffixes=_suffixes(".vdi"), format="vdi"),
    Container("QED", heads=((0, b"QED\0"),), suffixes=_suffixes(".qed"), format="qed"),
    Container(
        "Parallels",
        heads=((0, b"WithoutFreeSpace"), (0, b"WithouFreSpacExt")),
        suffixes=_suffixes(".hds", ".hdd"),
        format="parallels",
    ),
    Container("Apple disk image", tails=((512, b"koly\0\0\0\x04"),), suffixes=_suffixes(".dmg"), format="dmg"),
    Container("Bochs growing disk", heads=((0, b"Bochs Virtual HD Image"),), format="bochs"),
    Container("cloop", heads=((0, b"#!/bin/sh\n#V2.0 Format\n"),), suffixes=_suffixes(".cloop"), format="cloop"),
    Container(
        "Android sparse image",
        "unpack it with simg2img",
        heads=((0, b"\x3a\xff\x26\xed\x01\0"),),
        suffixes=_suffixes(".simg"),
    ),
    Container("EWF", heads=((0, b"EVF\t\r\n\xff\0"),), suffixes=_suffixes(".e01"), advice="convert it with ewfexport"),
    Container(
        "WIM archive",
        "apply it to a disk first",
        heads=((0, b"MSWIM\0\0\0"),),
        suffixes=_suffixes(".wim", ".esd"),
    ),
    Container("OVA archive", "unpack it and convert the disk in it", suffixes=_suffixes(".ova", ".ovf")),
    Container("gzip file", UNPACK, heads=((0, b"\x1f\x8b\x08"),), suffixes=_suffixes(".gz", ".tgz")),
    Container("xz file", UNPACK, heads=((0, b"\xfd7zXZ\0"),), suffixes=_suffixes(".xz")),
    Container("Zstandard file", UNPACK, heads=((0, b"\x28\xb5\x2f\xfd"),), suffixes=_suffixes(".zst")),
    Container(
        "bzip2 file",
        UNPACK,
        heads=tuple((0, b"BZh%d1AY&SY" % level) for level in range(1, 10)),
        suffixes=_suffixes(".bz2"),
    ),
    Container("LZ4 file", UNPACK, heads=((0, b"\x04\x22\x4d\x18"),), suffixes=_suffixes(".lz4")),
    Container("zip archive", UNPACK, heads=((0, b"PK\x03\x04"),), suffixes=_suffixes(".zip"), format="zip"),
    Container("7-Zip archive", UNPACK, heads=((0, b"7z\xbc\xaf\x27\x1c"),), suffixes=_suffixes(".7z")),
)
"""Every wrapping that is known; a mark counts before a name."""


def container_of_content(head: bytes, tail: bytes) -> Container | None:
    """The container whose mark the first or the last bytes of a file carry."""
    for container in CONTAINERS:
        if any(head[at : at + len(mark)] == mark for at, mark in container.heads):
            return container
        if any(len(tail) >= back and tail[len(tail) - back :].startswith(mark) for back, mark in container.tails):
            return container
    return None


def container_of_name(path: Path) -> Container | None:
    """The container that a file's name promises."""
    suffix = path.suffix.lower()
    return next((container for container in CONTAINERS if suffix in container.suffixes), None)
