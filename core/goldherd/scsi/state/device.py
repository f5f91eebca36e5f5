"""A SCSI target device, its ports and its logical units: everything that outlives a command, but for the medium.

Holds state and no command. `LogicalUnit.lock` guards the state of a unit and of its nexuses; the blocks and their
lock are in medium.py.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from goldherd import limits
from goldherd.block.image import Image
from goldherd.errors import Sense, SettingsError
from goldherd.scsi import sense as codes
from goldherd.scsi.fastpath.unit import NexusFlag
from goldherd.scsi.sam import Access, Port
from goldherd.scsi.state import aptpl
from goldherd.scsi.state.medium import Medium
from goldherd.scsi.state.mode_pages import ModePages
from goldherd.scsi.state.nexus import Nexus
from goldherd.scsi.state.persistent import Reservations
from goldherd.scsi.state.rods import Origin, Rods
from goldherd.scsi.state.space import UnitSpace

COMPANY_ID: Final = 0x026768
"""The 24 bits that NAA and EUI-64 begin with; none is assigned to goldherd, so the local bit is set."""


class Target:
    """An iSCSI target: a name, its ports and its logical units.

    Args:
        name: its iSCSI name.
        portal_group_tags: each portal group is one SCSI target port (RFC 7143 4.2.7.1), whose RELATIVE TARGET PORT
            IDENTIFIER is the tag, 1 to 65535.
    """

    def __init__(self, name: str, portal_group_tags: Sequence[int] = (1,)) -> None:
        self.name = name
        self.portal_group_tags = tuple(sorted(set(portal_group_tags)))
        self.units: dict[int, LogicalUnit] = {}
        self.rods = Rods(name)

    def nexus(self, initiator_name: str, isid: bytes, portal_group_tag: int | None = None) -> Nexus:
        """A nexus between an initiator port and a port of this target.

        Args:
            initiator_name: the initiator's iSCSI name, normalised.
            isid: the six bytes of the session's ISID.
            portal_group_tag: the tag of the target portal group; the target's first if not given.
        """
        tag = self.portal_group_tags[0] if portal_group_tag is None else portal_group_tag
        return Nexus(initiator_name, isid, self.port_name(tag), tag)

    def port_name(self, tag: int) -> str:
        """The SCSI target port name of a portal group (RFC 7143 4.2.7.1)."""
        return f"{self.name},t,0x{tag:04x}"

    def luns_changed(self) -> None:
        """The LUN inventory is another: every nexus is told (06/3F/0E)."""
        for unit in self.units.values():
            unit.attend(codes.REPORTED_LUNS_DATA_CHANGED)
            unit.changed()


class PersistentState(NamedTuple):
    """State of a unit that outlives the disk being closed: the next unit over the same disk takes it over."""

    reservations: Reservations
    known_ports: OrderedDict[Port, None]

    @classmethod
    def of(cls, reservations: Reservations, ports: Iterable[Port]) -> "PersistentState":
        """The state of a unit that has met these ports, the latest last."""
        return cls(reservations, OrderedDict.fromkeys(ports))


class LogicalUnit:
    """One disk of a target.

    Args:
        image: where its blocks live.
        lun: its number; the unit puts itself into `target.units`.
        block_size: bytes of a logical block, 512 or 4096.
        physical_block_size: what the unit says it writes at once; a power-of-two multiple of the block size, never
            less.
        thin: whether UNMAP and WRITE SAME with UNMAP give space back.
        read_only: writes are refused; so they are when the image is read-only.
        removable: whether the medium can be ejected.
        identity: what serial number and designators are made from, the same over restarts and on all paths.
        reservation_store: where persistent reservations with APTPL are kept; None: APTPL is refused.

    Raises: SettingsError for sizes that don't fit.
    """

    def __init__(
        self,
        image: Image,
        *,
        lun: int,
        target: Target,
        block_size: int = 512,
        physical_block_size: int = 512,
        thin: bool = True,
        read_only: bool = False,
        removable: bool = False,
        identity: str,
        vendor: str = "GOLDHERD",
        product: str = "VIRTUAL DISK",
        revision: str = "0001",
        reservation_store: aptpl.Store | None = None,
    ) -> None:
        physical_block_size = max(physical_block_size, block_size)
        _check_sizes(image, block_size, physical_block_size)
        self.medium = Medium(image)
        self.lun = lun
        self.target = target
        self.block_size = block_size
        self.physical_block_size = physical_block_size
        self.thin = thin
        self.read_only = read_only
        self.removable = removable
        self.vendor, self.product, self.revision = vendor, product, revision
        self.reservation_store = reservation_store

        digest = hashlib.sha256(b"goldherd logical unit " + identity.encode()).digest()
        bits = int.from_bytes(digest)
        self.serial = digest[:8].hex()
        self.naa = (0x6 << 124 | COMPANY_ID << 100 | bits >> 156).to_bytes(16)
        self.eui64 = digest[8:16] + COMPANY_ID.to_bytes(3) + digest[16:21]
        """EUI-64-based 16-byte identifier (SPC-4 7.8.5.5.4): extension, company, extension."""

        self.lock = threading.RLock()
        self.mode = ModePages()
        self.space: UnitSpace | None = None
        """The space below it as it was seen last; None: that is not known."""
        self.nexuses: list[Nexus] = []
        self.reserved_by: Nexus | None = None
        """The nexus that holds the whole unit by RESERVE (SPC-2 7.21)."""
        self.reservations: Reservations = aptpl.load(reservation_store)
        self.clock_shift: int | None = None
        """Milliseconds between the unit's clock and the server's, once an initiator has set it."""
        self.on_change: Callable[[], None] | None = None
        """Called when prebuilt answers must be made again."""
        self._known_ports: OrderedDict[Port, None] = OrderedDict()
        target.units[lun] = self

    # --- geometry ---

    @property
    def block_count(self) -> int:
        """Logical blocks of the unit; the image's odd bytes at the end, if any, are out of reach."""
        return self.medium.image.size_bytes // self.block_size

    @property
    def blocks_per_physical_exponent(self) -> int:
        """LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT."""
        return (self.physical_block_size // self.block_size).bit_length() - 1

    @property
    def wsnz(self) -> bool:
        """WRITE SAME NON-ZERO: thin units refuse WRITE SAME of 0 blocks, which elsewhere means all to the
        end; a field left empty by mistake would allocate the whole disk."""
        return self.thin

    @property
    def identification_descriptor(self) -> bytes:
        """The unit as a CSCD descriptor names it (SPC-4 6.4.5.6)."""
        designator = bytes([0x01, 0x03, 0, len(self.naa)]) + self.naa
        return bytes([0xE4, 0, 0, 0]) + designator.ljust(25, b"\x00") + self.block_size.to_bytes(3)

    @property
    def rod_origin(self) -> Origin:
        """The unit as ROD tokens name it (SPC-4 table 112)."""
        return Origin(
            self.medium,
            self.lun,
            self.identification_descriptor,
            self.block_size,
            self.blocks_per_physical_exponent,
            thin=self.thin,
        )

    # --- state ---

    @property
    def write_protected(self) -> bool:
        """Whether writes are refused: by configuration, by the image, by a client through SWP, or because the disk has
        failed. DATA PROTECT makes file systems read-only at once; after MEDIUM ERROR Linux would try each write five
        times more, and Windows take the blocks for bad ones and write elsewhere."""
        image = self.medium.image
        protected = self.read_only or image.read_only or self.mode.software_write_protect
        return protected or image.sync_failure is not None

    def note_space(self, space: UnitSpace, *, reached: bool) -> None:
        """The space below a thin unit was seen; `reached` says that it has just fallen below the threshold."""
        if not self.thin:
            return
        with self.lock:
            self.space = space
            self.mode.arm_threshold(space.sets(space.soft_bytes))
            if reached and self.mode.reports_thresholds:
                self.attend(codes.SOFT_THRESHOLD_REACHED)

    def changed(self) -> None:
        """Something that answers depend on is different: flags and prebuilt answers follow."""
        for nexus in self.nexuses:
            self.refresh_flags(nexus)
        if self.on_change is not None:
            self.on_change()

    # --- nexuses ---

    def attach(self, nexus: Nexus) -> None:
        """A session reached full feature phase: 29/00 for a port never met, 29/07 for one that was lost."""
        with self.lock:
            known = nexus.port in self._known_ports
            self._known_ports[nexus.port] = None
            self._known_ports.move_to_end(nexus.port)
            if len(self._known_ports) > limits.KNOWN_PORTS_MAX:
                self._known_ports.popitem(last=False)
            self.nexuses = [*self.nexuses, nexus]
            nexus.on_attention = self.refresh_flags
            nexus.attend(codes.NEXUS_LOSS_OCCURRED if known else codes.POWER_ON_OCCURRED)

    def attach_again(self, nexus: Nexus, attentions: Sequence[Sense], *, reserves: bool) -> None:
        """The nexus of a session that was the unit's in another process, with the conditions that wait for it."""
        with self.lock:
            self._known_ports[nexus.port] = None
            self.nexuses = [*self.nexuses, nexus]
            nexus.on_attention = self.refresh_flags
            if reserves:
                self.reserved_by = nexus
            for sense in attentions:
                nexus.attend(sense)
            for each in self.nexuses:
                self.refresh_flags(each)

    def detach(self, nexus: Nexus) -> None:
        """I_T nexus loss: RESERVE is released, removal no longer prevented (SAM-5 6.3.4)."""
        with self.lock:
            self.nexuses = [other for other in self.nexuses if other is not nexus]
            nexus.on_attention = None
            nexus.prevents_removal = False
            nexus.forget_copies()
            if self.reserved_by is nexus:
                self.reserved_by = None
                for other in self.nexuses:
                    self.refresh_flags(other)

    def attend(self, sense: Sense, *, but: Nexus | None = None) -> None:
        """Establishes a unit attention condition for every nexus, one perhaps left out."""
        with self.lock:
            for nexus in self.nexuses:
                if nexus is not but:
                    nexus.attend(sense)

    def at_port(self, port: Port) -> tuple[Nexus, ...]:
        """The nexuses that are logged in from that port: one, or two for a moment at reinstatement."""
        return tuple(nexus for nexus in self.nexuses if nexus.port == port)

    # --- reservations ---

    def conflicts(self, nexus: Nexus, access: Access) -> bool:
        """Whether a command of that kind ends with RESERVATION CONFLICT."""
        if access is Access.FREE:
            return False
        if self.reserved_by is not None and self.reserved_by.port != nexus.port:
            return True
        return self.reservations.conflicts(nexus.port, access)

    def refresh_flags(self, nexus: Nexus) -> None:
        """Works out which commands of a nexus the data plane must leave to Python."""
        with self.lock:
            flags = 0
            reserved = self.reserved_by is not None and self.reserved_by.port != nexus.port
            if nexus.attentions or reserved or not self.medium.ready:
                flags |= NexusFlag.SLOW_ALL
            if self.reservations.conflicts(nexus.port, Access.READ):
                flags |= NexusFlag.SLOW_READ
            if self.reservations.conflicts(nexus.port, Access.WRITE):
                flags |= NexusFlag.SLOW_WRITE | NexusFlag.SLOW_PREBUILT
            if self.write_protected:
                flags |= NexusFlag.SLOW_WRITE
            if not self.mode.write_cache:
                flags |= NexusFlag.WRITE_THROUGH
            nexus.set_flags(int(flags))

    @property
    def persistent_state(self) -> PersistentState:
        """The state that outlives the disk being closed."""
        return PersistentState(self.reservations, self._known_ports)

    def take_over(self, before: PersistentState) -> None:
        """Continues with the state of an earlier unit over the same disk."""
        self.reservations, self._known_ports = before

    def reset(self) -> None:
        """The effects of a reset of any kind; persistent reservations and a SANITIZE go on."""
        with self.lock:
            self.reserved_by = None
            self.mode.reset()
            for nexus in self.nexuses:
                nexus.prevents_removal = False
                nexus.forget_copies()
            self.changed()

    def __repr__(self) -> str:
        return f"<LogicalUnit {self.lun} of {self.target.name} over {self.medium.image!r}>"


def _check_sizes(image: Image, block_size: int, physical_block_size: int) -> None:
    """Raises SettingsError unless the sizes can be told to a client."""
    if block_size not in (512, 1024, 2048, 4096):
        raise SettingsError(f"A disk can't have blocks of {block_size} bytes: choose 512 or 4096.")
    blocks = physical_block_size // block_size
    if physical_block_size % block_size or blocks & (blocks - 1) or physical_block_size > 1 << 20:
        raise SettingsError(
            f"A physical block of {physical_block_size} bytes is not a power-of-two multiple of the block "
            f"size {block_size}: choose 512 or 4096."
        )
    if image.size_bytes < block_size:
        raise SettingsError(f"The disk {image.path} is smaller than one block of {block_size} bytes.")
