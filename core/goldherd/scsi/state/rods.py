"""Representations of data (ROD) and the tokens that name them (SPC-4 5.17.6): the memory of offloaded copies.

A token stands for ranges of one unit as they were when POPULATE TOKEN made it. No data is kept: the ranges are
read when the token is used, and a token whose ranges were written meanwhile is void (05/23/08), so that changed
data is never delivered. It is a "point in time copy - change vulnerable", which the standard provides for this.

Changes are noticed by watches. Every token has a Watch (watch.pxd) over its ranges, and its unit a list of them that is
NULL as long as there are no tokens. A writer marks the watches that its range touches, then stores; WRITE USING
TOKEN reads, then looks at the mark. All writes pass one of two doors: in the data plane the two places of the
reactor that store (`write_blocks` in commands.pyx, `execute` in tasks.pyx), in Python `Medium.write` and
`discard`. A write that was under way while the token was made can't slip through either: POPULATE TOKEN runs
alone (no reactor has a write under way, target/commands/slow_commands.py) and registers its watch under the medium's
lock, which every Python write holds. The granularity is the byte range, so that a copy within one volume, which
writes to the volume all the time, leaves its own token alone.

Two things make a token hard to forge: 256 random bits, and an HMAC-SHA-256 with a key that is drawn when a target is
opened, over everything in the token (unit, target, size, end of life, a keyed digest of the ranges). The ranges
themselves are not in it. A token of another server, or of before a restart, is unknown.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from goldherd import limits
from goldherd.errors import CommandError, Sense
from goldherd.scsi import sense as codes
from goldherd.scsi.fastpath.watch import Watch
from goldherd.scsi.sam import Port
from goldherd.scsi.state.medium import Medium

TOKEN_BYTES: Final = 512
TOKEN_LENGTH: Final = TOKEN_BYTES - 8
"""ROD TOKEN LENGTH, 01F8h."""
CHANGE_VULNERABLE: Final = 0x00800001
ZERO: Final = 0xFFFF0001
"""Block device zero ROD token (SBC-3 4.28.4): as many zeros as a command asks for."""
POINT_IN_TIME_TYPES: Final = (0x00800000, CHANGE_VULNERABLE, 0x0080FFFF)
"""ROD types that POPULATE TOKEN may be asked for; each gets what we make."""
_MAC_BYTES: Final = 32
_TARGET_AT, _EXTENDED_AT, _DIGEST_AT = 128, 256, 296

now = time.monotonic
"""The clock of all timeouts; tests put another one here."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The unit whose data a token stands for: its medium, and what the token tells about it."""

    medium: Medium
    lun: int
    descriptor: bytes
    """Its identification descriptor (SPC-4 6.4.5.6)."""
    block_size: int
    physical_exponent: int
    """LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT."""
    thin: bool


@dataclass(slots=True, eq=False)
class Rod:
    """The data a token stands for, in order.

    `ranges` are (offset, length) in bytes of the unit; together `length` bytes.
    """

    identifier: int
    origin: Origin
    ranges: Sequence[tuple[int, int]]
    length: int
    watch: Watch
    creator: Port
    timeout_seconds: float
    ends_at: float
    """When its lifetime is over, however it is used."""
    idle_from: float
    token: bytes = b""
    users: int = 0
    """Commands that use it now; its inactivity begins behind the last of them."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the ROD; behind its end zeros (SBC-3 5.59.2). CommandError when they have changed."""
        data = bytearray()
        for start, size in self.ranges:
            if offset < size and len(data) < length:
                part = min(size - offset, length - len(data))
                data += self.origin.medium.read(start + offset, part)
                offset = 0
            else:
                offset = max(0, offset - size)
        if self.watch.touched:
            raise CommandError("The data of the token has changed since.", sense=codes.TOKEN_CANCELLED)
        return bytes(data.ljust(length, b"\x00"))


class KnownRod(NamedTuple):
    """A token that may still be used, without what belongs to this process. Times are seconds of `now`."""

    identifier: int
    lun: int
    ranges: Sequence[tuple[int, int]]
    creator: Port
    timeout_seconds: float
    ends_at: float
    idle_from: float
    token: bytes


class RodsState(NamedTuple):
    """The tokens of a target, as another process can go on with them."""

    key: bytes
    rods: tuple[KnownRod, ...]
    gone: tuple[tuple[int, Sense], ...]


class Rods:
    """The tokens of one target."""

    def __init__(self, target_name: str) -> None:
        self._descriptor = _target_descriptor(target_name)
        self._key = secrets.token_bytes(_MAC_BYTES)
        self._lock = threading.Lock()
        self._rods: OrderedDict[int, Rod] = OrderedDict()
        """By identifier, longest unused first."""
        self._gone: OrderedDict[int, Sense] = OrderedDict()
        """The sense data of the latest tokens that have ended."""

    def __len__(self) -> int:
        return len(self._rods)

    def create(
        self,
        origin: Origin,
        ranges: Sequence[tuple[int, int]],
        creator: Port,
        timeout_seconds: float,
    ) -> Rod:
        """A new token for (offset, length) ranges in bytes; at least one, none of them empty.

        The caller sees to it that no write of the data plane is under way on the unit. Raises CommandError
        (05/55/0D) when there are too many and none of them is the creator's.
        """
        begin = now()
        rod = Rod(
            identifier=secrets.randbits(64),
            origin=origin,
            ranges=tuple(ranges),
            length=sum(length for _, length in ranges),
            watch=Watch(ranges),
            creator=creator,
            timeout_seconds=timeout_seconds,
            ends_at=begin + limits.ROD_LIFETIME_SECONDS_MAX,
            idle_from=begin,
        )
        rod.token = self._token(rod)
        with origin.medium.lock:  # every write that Python carries out is over, or will see the watch
            with self._lock:
                self._prune()
                self._make_room(creator)
                self._rods[rod.identifier] = rod
            origin.medium.watch(rod.watch)
        return rod

    def state(self) -> RodsState:
        """All that is known of tokens; no command uses one."""
        with self._lock:
            self._prune()
            rods = tuple(
                KnownRod(
                    rod.identifier,
                    rod.origin.lun,
                    rod.ranges,
                    rod.creator,
                    rod.timeout_seconds,
                    rod.ends_at,
                    rod.idle_from,
                    rod.token,
                )
                for rod in self._rods.values()
            )
            return RodsState(self._key, rods, tuple(self._gone.items()))

    def restore(self, state: RodsState, origins: Mapping[int, Origin]) -> None:
        """Goes on with the tokens of another process; the disks were not written in between.

        A token of a unit that is not there any more has ended.
        """
        self._key = state.key
        self._gone = OrderedDict(state.gone)
        for known in state.rods:
            origin = origins.get(known.lun)
            if origin is None:
                self._gone[known.identifier] = codes.TOKEN_CANCELLED
                continue
            rod = Rod(
                identifier=known.identifier,
                origin=origin,
                ranges=tuple(known.ranges),
                length=sum(length for _, length in known.ranges),
                watch=Watch(list(known.ranges)),
                creator=known.creator,
                timeout_seconds=known.timeout_seconds,
                ends_at=known.ends_at,
                idle_from=known.idle_from,
                token=known.token,
            )
            with origin.medium.lock:
                self._rods[rod.identifier] = rod
                origin.medium.watch(rod.watch)

    def open(self, token: bytes) -> Rod:
        """The ROD of a token, in use until `close`. CommandError (05/23/xx) when it can't be used (SPC-4
        5.17.6.5.2.3)."""
        if int.from_bytes(token[6:8]) != TOKEN_LENGTH:
            raise CommandError("A ROD token has 512 bytes.", sense=codes.TOKEN_LENGTH_INVALID)
        if int.from_bytes(token[0:4]) != CHANGE_VULNERABLE:
            raise CommandError("No token of that type is made here.", sense=codes.TOKEN_TYPE_NOT_SUPPORTED)
        if token[_TARGET_AT:_EXTENDED_AT] != self._descriptor:
            raise CommandError("The token is another target's.", sense=codes.REMOTE_TOKEN_NOT_SUPPORTED)
        identifier = int.from_bytes(token[8:16])
        with self._lock:
            self._prune()
            rod = self._rods.get(identifier)
            if not hmac.compare_digest(token[-_MAC_BYTES:], self._mac(token[:-_MAC_BYTES])):
                known = rod is not None or identifier in self._gone
                raise CommandError(
                    "This server did not make the token.", sense=codes.TOKEN_CORRUPT if known else codes.TOKEN_UNKNOWN
                )
            if rod is None:
                gone = self._gone.get(identifier, codes.TOKEN_EXPIRED)
                raise CommandError("The token has ended.", sense=gone)
            if not rod.origin.medium.ready:
                raise CommandError("The token's unit is not ready.", sense=codes.TOKEN_UNUSABLE)
            rod.users += 1
            self._rods.move_to_end(identifier)
            return rod

    def close(self, rod: Rod, *, delete: bool = False) -> None:
        """Ends what `open` began; `delete` ends the token too."""
        with self._lock:
            rod.users -= 1
            rod.idle_from = now()
            if delete and rod.identifier in self._rods:
                self._end(rod, codes.TOKEN_DELETED)

    def _make_room(self, creator: Port) -> None:
        if len(self._rods) < limits.ROD_TOKENS_MAX:
            return
        for rod in self._rods.values():
            if rod.creator == creator:
                self._end(rod, codes.TOKEN_CANCELLED)
                return
        raise CommandError(
            "The target holds as many tokens as it may.", sense=codes.INSUFFICIENT_RESOURCES_FOR_ROD_TOKEN
        )

    def _prune(self) -> None:
        """Ends all tokens that are void or too old."""
        time_ = now()
        for rod in list(self._rods.values()):
            if rod.watch.touched:
                self._end(rod, codes.TOKEN_CANCELLED)
            elif not rod.users and (time_ >= rod.ends_at or time_ >= rod.idle_from + rod.timeout_seconds):
                self._end(rod, codes.TOKEN_EXPIRED)

    def _end(self, rod: Rod, why: Sense) -> None:
        """Forgets a token; a command that still uses the token finds its watch marked."""
        rod.watch.end()
        del self._rods[rod.identifier]
        rod.origin.medium.unwatch(rod.watch)
        self._gone[rod.identifier] = why
        while len(self._gone) > limits.ROD_TOKENS_MAX:
            self._gone.popitem(last=False)

    def _token(self, rod: Rod) -> bytes:
        """SPC-4 table 112, with the device type specific data of SBC-3 and our own extended data."""
        origin = rod.origin
        token = bytearray(TOKEN_BYTES - _MAC_BYTES)
        token[0:4] = CHANGE_VULNERABLE.to_bytes(4)
        token[6:8] = TOKEN_LENGTH.to_bytes(2)
        token[8:16] = rod.identifier.to_bytes(8)
        token[16:48] = origin.descriptor
        token[48:64] = rod.length.to_bytes(16)
        token[96:100] = origin.block_size.to_bytes(4)
        token[101] = origin.physical_exponent
        token[102] = 0xC0 if origin.thin else 0x00  # LBPME, LBPRZ
        token[_TARGET_AT:_EXTENDED_AT] = self._descriptor
        token[_EXTENDED_AT:] = secrets.token_bytes(len(token) - _EXTENDED_AT)
        token[_DIGEST_AT - 8 : _DIGEST_AT] = int(rod.ends_at).to_bytes(8)
        token[_DIGEST_AT : _DIGEST_AT + _MAC_BYTES] = self._mac(repr((origin.lun, rod.ranges)).encode())
        return bytes(token) + self._mac(token)

    def _mac(self, data: bytes | bytearray) -> bytes:
        return hmac.digest(self._key, data, "sha256")


def _target_descriptor(name: str) -> bytes:
    """TARGET DEVICE DESCRIPTOR: a designator of the target device, filled up to 128 bytes.

    A name that is too long for the field is replaced by an NAA that is made from it.
    """
    text = name.encode() + b"\x00"
    text += bytes(-len(text) % 4)
    size = _EXTENDED_AT - _TARGET_AT
    if len(text) + 4 <= size:
        descriptor = bytes([0x53, 0xA8, 0, len(text)]) + text
    else:
        digest = hashlib.sha256(b"goldherd target device " + name.encode()).digest()
        descriptor = bytes([0x51, 0xA3, 0, 8, 0x30 | digest[0] >> 4]) + digest[1:8]  # locally assigned
    return descriptor.ljust(size, b"\x00")
