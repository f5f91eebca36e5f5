"""Every bound of goldherd in one place, each with its unit and its reason.

Constants that compiled code needs too are repeated as `enum` values in `limits.pxd`; tests/test_limits.py
holds the two lists equal.
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
"""Threads that run Python backends; apart from the storage threads, so that a slow plugin delays plugins
only."""

# --- wire -------------------------------------------------------------------------------------------------
DATA_SEGMENT_BYTES_MAX: Final = 262144
"""The MaxRecvDataSegmentLength we declare after login."""
LOGIN_DATA_SEGMENT_BYTES_MAX: Final = 8192
"""RFC 7143 13.12: the default holds for the whole login."""

# --- scsi -------------------------------------------------------------------------------------------------
UNIT_ATTENTIONS_MAX: Final = 16
"""Unit attentions waiting on one nexus; equal ones collapse, and beyond this the oldest goes."""
KNOWN_PORTS_MAX: Final = 4096
"""Initiator ports a logical unit remembers having met since start; a forgotten one sees 29/00 again."""
TRANSFER_BYTES_MAX: Final = 32 << 20
"""MAXIMUM TRANSFER LENGTH of VPD B0 in bytes: above the 18.4 MiB that firmware reads in one command, low
enough to bound what one command can make the control plane hold."""
STEP_BYTES: Final = 1 << 20
"""The pieces in which long commands (WRITE SAME, VERIFY, EXTENDED COPY, SANITIZE) work, and may be
aborted."""
COMPARE_AND_WRITE_BLOCKS_MAX: Final = 255
"""MAXIMUM COMPARE AND WRITE LENGTH; the CDB's field has one byte."""
ATOMIC_BYTES_MAX: Final = 1 << 20
"""MAXIMUM ATOMIC TRANSFER LENGTH of VPD B0 in bytes."""
UNMAP_BLOCKS_MAX: Final = 1 << 20
"""MAXIMUM UNMAP LBA COUNT: 512 MiB of 512-byte blocks, so that one command ends soon."""
UNMAP_DESCRIPTORS_MAX: Final = 256
"""MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT: bounds the parameter list to about 4 KiB."""
LBA_STATUS_DESCRIPTORS_MAX: Final = 256
"""Descriptors in one GET LBA STATUS answer; a client asks again from where it ended."""
PARAMETER_LIST_BYTES_MAX: Final = 65536
"""The longest parameter list of any command that carries one."""
REGISTRATIONS_MAX: Final = 1024
"""Persistent reservation keys per logical unit: a few times the nodes of a large cluster."""
SANITIZE_SECONDS_MIN: Final = 5.0
"""How long SANITIZE OVERWRITE takes at least: it leaves disk and processor to the others, and a client that
looks for it sees it run (libiscsi's suite looks after four seconds)."""
COPY_CSCD_DESCRIPTORS_MAX: Final = 16
"""Sources and destinations one EXTENDED COPY may name."""
COPY_SEGMENTS_MAX: Final = 64
"""Segments of one EXTENDED COPY."""
COPY_SEGMENT_BYTES_MAX: Final = 256 << 20
"""MAXIMUM SEGMENT LENGTH of RECEIVE COPY RESULTS."""
COPY_RESULTS_MAX: Final = 16
"""Finished EXTENDED COPY commands whose status is held per nexus."""
