"""fs-verity: the kernel keeps a file from being written, and compares what it reads with a Merkle tree of hashes.

ext4 (with the feature `verity`), f2fs and btrfs have it, if the kernel was built with it. A protected file can be read,
renamed, linked and removed; its bytes can't be changed by any program, and a block that the disk returns wrong is an
error (EIO) instead of wrong data. Its digest tells at once which bytes the whole file has. A copy of the file is not
protected. Protection can't be taken away: only a copy is writable again.
Documentation/filesystems/fsverity.rst of Linux is the reference.
"""

import errno
import fcntl
import os
import struct
from typing import Final

FS_IOC_ENABLE_VERITY: Final = 0x40806685
"""_IOW('f', 133, struct fsverity_enable_arg)"""
FS_IOC_MEASURE_VERITY: Final = 0xC0046686
"""_IOWR('f', 134, struct fsverity_digest)"""
ABSENT: Final = frozenset((errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODATA, errno.EINVAL))
"""What a kernel or a file system without fs-verity answers, and one that has it for a file without protection."""
_ENABLE: Final = struct.Struct("=IIIIQIIQ88x")
"""version, hash algorithm, block size, salt size, salt, signature size, reserved, signature, reserved"""
_SHA256: Final = 1
"""FS_VERITY_HASH_ALG_SHA256"""
_BLOCK_BYTES: Final = 4096
"""The block that every kernel with fs-verity takes: it is never larger than a page."""
_DIGEST: Final = struct.Struct("=HH64s")
"""hash algorithm, bytes of the digest, the digest: room for SHA-512"""
_NAMES: Final = {1: "sha256", 2: "sha512"}


def protect(descriptor: int) -> bool:
    """Lets the kernel protect an open file for ever; the file must be open for reading, and for writing nowhere.

    Takes as long as reading the whole file, its holes included. Returns whether it is protected now; False where
    there is no fs-verity. Raises OSError: this user may not (EACCES, EPERM), a program has the file open for writing
    (ETXTBSY), there is no room for the tree (ENOSPC, EDQUOT), or the file can't be read.
    """
    try:
        fcntl.ioctl(descriptor, FS_IOC_ENABLE_VERITY, _ENABLE.pack(1, _SHA256, _BLOCK_BYTES, 0, 0, 0, 0, 0))
    except OSError as error:
        if error.errno == errno.EEXIST:
            return True
        if error.errno in ABSENT:
            return False
        raise
    os.fsync(descriptor)
    return True


def measure(descriptor: int) -> str | None:
    """The digest of a protected file, `sha256:HEX`; None: it is not protected. OSError when that can't be told."""
    room = bytearray(_DIGEST.pack(0, 64, b""))
    try:
        fcntl.ioctl(descriptor, FS_IOC_MEASURE_VERITY, room)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    algorithm, count, digest = _DIGEST.unpack(room)
    return f"{_NAMES.get(algorithm, algorithm)}:{digest[:count].hex()}"
