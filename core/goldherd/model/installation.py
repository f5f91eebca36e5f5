"""What an installation is: one catalog with the folders that belong to it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Installation:
    """Which installation a catalog belongs to."""

    id: str
    """128 random bits as hexadecimal digits, made once with the catalog."""
    names_disks: bool
    """Whether serial numbers and NAA designators are made from the id; no in installations older than it."""

    def disk_identity(self, target: str) -> str:
        """What the serial number and the NAA designator of a target's disk are made from (SPC-4 7.8.6)."""
        return f"{self.id} {target}" if self.names_disks else target
