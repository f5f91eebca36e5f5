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
