"""What a unit knows of the space below it (SBC-3 4.7.3.8): told by the log page and counted by the threshold."""

from typing import NamedTuple

from goldherd.limits import THRESHOLD_SET_BYTES


class UnitSpace(NamedTuple):
    """The space of one disk, in bytes."""

    available_bytes: int
    """Free on its file system, which other disks may use as well."""
    used_bytes: int
    """Allocated to the disk."""
    soft_bytes: int
    """Free space below which the threshold is reached."""

    @staticmethod
    def sets(count_bytes: int) -> int:
        """Bytes as a RESOURCE COUNT or THRESHOLD COUNT: whole threshold sets, 32 bits of them."""
        return min(count_bytes // THRESHOLD_SET_BYTES, 0xFFFFFFFF)


def threshold_exponent(block_size: int) -> int:
    """THRESHOLD EXPONENT of VPD page B2h: a threshold set is 2 to that power of logical blocks (SBC-3 6.6.4)."""
    return (THRESHOLD_SET_BYTES // block_size).bit_length() - 1
