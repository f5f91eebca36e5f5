"""Every bound of goldherd in one place, each with its unit and its reason.

Constants that compiled code needs too are repeated as `enum` values in `limits.pxd`; tests/test_limits.py holds
the two lists equal.
"""

from typing import Final

# --- block ------------------------------------------------------------------------------------------------
SECTOR_BYTES: Final = 512
"""The unit of VHD and of every look-up below SCSI."""
IMAGE_BYTES_MAX: Final = 1 << 60
"""Keeps offset + length far from the end of 64 bits."""
GRANULE_BYTES: Final = 256 * 1024
"""What one cold read brings into memory: large enough for a disk's throughput, small against a boot."""
CHAIN_DEPTH_MAX: Final = 64
"""Parents above a leaf; the VHD format names no limit, and every level costs a look-up per read."""
STORAGE_THREADS: Final = 4
"""Threads that may sleep in a disk: fetches, flushes, cold reads."""
PYTHON_THREADS: Final = 4
"""Threads that run Python backends; apart from the storage threads, so that a slow plugin delays plugins only."""

# --- wire -------------------------------------------------------------------------------------------------
DATA_SEGMENT_BYTES_MAX: Final = 262144
"""The MaxRecvDataSegmentLength we declare after login."""
LOGIN_DATA_SEGMENT_BYTES_MAX: Final = 8192
"""RFC 7143 13.12: the default holds for the whole login."""

# --- server -----------------------------------------------------------------------------------------------
REACTORS_MAX: Final = 256
"""More data plane threads than any machine has cores is a mistyped number."""
LISTENERS_MAX: Final = 64
"""Addresses a server listens on; each costs a socket and a line in every discovery answer."""

# --- catalog ----------------------------------------------------------------------------------------------
NODES_PER_COMMAND_MAX: Final = 10_000
"""Nodes one range may name: above that a range is a typing error, and expanding it could eat the memory."""
NODE_NAME_CHARACTERS_MAX: Final = 63
"""A DNS label (RFC 1035 2.3.4), because a node's name becomes its host name."""
IMAGE_NAME_CHARACTERS_MAX: Final = 63
"""Node, image and version together stay below the 255 bytes of a file name."""
ISCSI_NAME_BYTES_MAX: Final = 223
"""RFC 7143 4.2.7.1."""
CHAP_SECRET_BYTES_MIN: Final = 12
"""96 bits: what RFC 7143 9.2.1 asks for on a connection without IPsec."""
CHAP_SECRET_BYTES_MAX: Final = 255
"""Room for any pass phrase, and a secret file that is the wrong file is noticed."""
CATALOG_BUSY_MILLISECONDS: Final = 10_000
"""How long a change waits for another process that is writing the catalog."""
OVERLAY_THREADS: Final = 8
"""Differencing children made at the same time: they wait for the disk, not for the CPU."""
GUARD_HEAD_BYTES: Final = 1 << 20
"""What the guard hash covers at the start of a sealed file: VHD's header and most block tables."""
GUARD_TAIL_BYTES: Final = 64 * 1024
"""What the guard hash covers at the end of a sealed file: the footer."""
COPY_CHUNK_BYTES: Final = 64 << 20
"""One step of copy_file_range: large for the file system, short enough for a live progress bar."""
READ_CHUNK_BYTES: Final = 1 << 20
"""One step of plain reading and hashing."""
CONTROL_REPLY_BYTES_MAX: Final = 64 << 20
"""What a daemon may answer to `status`: 10,000 sessions fit ten times over."""
CONTROL_SECONDS_MAX: Final = 10
"""How long `status` waits for a daemon that took the connection."""
