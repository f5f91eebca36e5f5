"""Terms of the SCSI architecture that all of this room uses (SAM-5, SPC-4). Knows no unit and no command.

Status codes stand in fastpath/statuses.pxd, because reactors give some of them.
"""

import enum
from typing import TypeAlias

from goldherd.scsi.fastpath.statuses import Status

__all__ = ["Access", "Direction", "Need", "Port", "Status", "relative_port"]

Port: TypeAlias = tuple[str, str]
"""(initiator port, target port): an I_T nexus by its names, which outlive its sessions."""


def relative_port(port: Port) -> int:
    """RELATIVE TARGET PORT IDENTIFIER of its target port: the portal group tag in "...,t,0x0001"."""
    return int(port[1].rpartition(",t,0x")[2], 16)


class Direction(enum.Enum):
    """Which way the data of a command goes."""

    NONE = "none"
    IN = "in"
    OUT = "out"


class Need(enum.Enum):
    """The state of the medium that a command needs, checked before its LBA range."""

    NOTHING = "nothing"
    """Works while the medium is absent or being sanitized."""
    READY = "ready"
    WRITABLE = "writable"
    SANITIZABLE = "sanitizable"
    """Writable, but a SANITIZE that failed may be behind it."""


class Access(enum.Enum):
    """How a command behaves under a reservation that another nexus holds (SPC-4 5.13.1, SPC-2 5.5.1)."""

    FREE = "free"
    """Never conflicts: INQUIRY and the other commands that SPC-2 lets pass beside RESERVE."""
    STATUS = "status"
    """Passes every persistent reservation, conflicts with RESERVE."""
    READ = "read"
    """Conflicts with RESERVE and with the exclusive access types."""
    WRITE = "write"
    """Conflicts with every reservation that does not give its nexus access."""
