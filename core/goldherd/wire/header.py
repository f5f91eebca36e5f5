"""The headers of the control plane: Login, Text, Logout, NOP, task management, Reject, Async (RFC 7143
section 11).

One class per PDU, its fields in the order of the wire and `LAYOUT` where they lie; the offsets are those of
pdu.pxd. `read` takes a 48-byte header apart, `pack` builds one, `pdu` puts header and data segment together.
Commands and data never pass here: the data plane reads them in place.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from struct import Struct
from typing import Any, ClassVar, Final, Self

from goldherd.errors import ProtocolError
from goldherd.wire.opcodes import NO_TAG, Flag, Opcode, Sizes

BHS_BYTES: Final = int(Sizes.BHS_BYTES)
FINAL: Final = int(Flag.FINAL)
IMMEDIATE: Final = int(Flag.IMMEDIATE)


def opcode_of(header: bytes) -> int:
    """The opcode of a header, without the I bit."""
    return header[0] & Flag.OPCODE_MASK


def segment_bytes(header: bytes) -> tuple[int, int]:
    """(bytes of additional headers, DataSegmentLength without padding) that a basic header announces."""
    return header[4] * 4, int.from_bytes(header[5:8], "big")


def padding(length_bytes: int) -> int:
    """Bytes that fill a segment up to a multiple of 4 (RFC 7143 11.1)."""
    return -length_bytes % 4


@dataclass(frozen=True, slots=True)
class Header:
    """What all headers share. `lengths`: TotalAHSLength (8 bits, words), DataSegmentLength (24, bytes)."""

    LAYOUT: ClassVar[Struct]

    @classmethod
    def read(cls, header: bytes) -> Self:
        """The fields of a basic header; ProtocolError unless it is 48 bytes long."""
        if len(header) != BHS_BYTES:
            raise ProtocolError(f"A header has {len(header)} bytes instead of {BHS_BYTES}.")
        return cls(*cls.LAYOUT.unpack(header))

    def pack(self) -> bytes:
        """The 48 bytes of the header; reserved bytes are zero."""
        take = _fields_of(type(self))  # type: ignore[arg-type]  # mypy takes a class for one of its objects
        return self.LAYOUT.pack(*take(self))


@cache
def _fields_of(kind: type[Header]) -> Callable[[Header], tuple[Any, ...]]:
    """Takes the fields out of a header of that class, in the order of the wire."""
    return attrgetter(*(field.name for field in fields(kind)))


@dataclass(frozen=True, slots=True)
class LoginRequest(Header):
    """RFC 7143 11.12."""

    LAYOUT = Struct(">BBBBI6sHIH2xII16x")
    opcode: int = Opcode.LOGIN_REQUEST | IMMEDIATE
    flags: int = 0
    version_max: int = 0
    version_min: int = 0
    lengths: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    itt: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    @property
    def transit(self) -> bool:
        """T: ready to go to the stage `nsg`."""
        return bool(self.flags & Flag.TRANSIT)

    @property
    def goes_on(self) -> bool:
        """C: the text goes on in the next request."""
        return bool(self.flags & Flag.CONTINUE)

    @property
    def csg(self) -> int:
        """The stage this request belongs to."""
        return self.flags >> 2 & 3

    @property
    def nsg(self) -> int:
        """The stage wanted next; means something only with T."""
        return self.flags & 3


@dataclass(frozen=True, slots=True)
class LoginResponse(Header):
    """RFC 7143 11.13."""

    LAYOUT = Struct(">BBBBI6sHI4xIIIBB10x")
    opcode: int = Opcode.LOGIN_RESPONSE
    flags: int = 0
    version_max: int = 0
    version_active: int = 0
    lengths: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    status_class: int = 0
    status_detail: int = 0


@dataclass(frozen=True, slots=True)
class TextRequest(Header):
    """RFC 7143 11.10."""

    LAYOUT = Struct(">BB2xIQIIII16x")
    opcode: int = Opcode.TEXT_REQUEST
    flags: int = FINAL
    lengths: int = 0
    lun: int = 0
    itt: int = 0
    ttt: int = NO_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    @property
    def final(self) -> bool:
        """F: the initiator has nothing more to say in this exchange."""
        return bool(self.flags & FINAL)

    @property
    def goes_on(self) -> bool:
        """C: the text goes on in the next request."""
        return bool(self.flags & Flag.CONTINUE)


@dataclass(frozen=True, slots=True)
class TextResponse(Header):
    """RFC 7143 11.11."""

    LAYOUT = Struct(">BB2xIQIIIII12x")
    opcode: int = Opcode.TEXT_RESPONSE
    flags: int = FINAL
    lengths: int = 0
    lun: int = 0
    itt: int = 0
    ttt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0


@dataclass(frozen=True, slots=True)
class LogoutRequest(Header):
    """RFC 7143 11.14; `flags` is 0x80 and the reason, one of opcodes.LogoutReason."""

    LAYOUT = Struct(">BB2xI8xIH2xII16x")
    opcode: int = Opcode.LOGOUT_REQUEST
    flags: int = FINAL
    lengths: int = 0
    itt: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    @property
    def reason(self) -> int:
        """The reason code."""
        return self.flags & 0x7F


@dataclass(frozen=True, slots=True)
class LogoutResponse(Header):
    """RFC 7143 11.15; `response` is one of opcodes.LogoutCode, times are in seconds."""

    LAYOUT = Struct(">BBBxI8xI4xIII4xHH4x")
    opcode: int = Opcode.LOGOUT_RESPONSE
    flags: int = FINAL
    response: int = 0
    lengths: int = 0
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    time2wait: int = 0
    time2retain: int = 0


@dataclass(frozen=True, slots=True)
class NopOut(Header):
    """RFC 7143 11.18."""

    LAYOUT = Struct(">BB2xIQIIII16x")
    opcode: int = Opcode.NOP_OUT | IMMEDIATE
    flags: int = FINAL
    lengths: int = 0
    lun: int = 0
    itt: int = NO_TAG
    ttt: int = NO_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0


@dataclass(frozen=True, slots=True)
class NopIn(Header):
    """RFC 7143 11.19."""

    LAYOUT = Struct(">BB2xIQIIIII12x")
    opcode: int = Opcode.NOP_IN
    flags: int = FINAL
    lengths: int = 0
    lun: int = 0
    itt: int = NO_TAG
    ttt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0


@dataclass(frozen=True, slots=True)
class TaskManagementRequest(Header):
    """RFC 7143 11.5; `flags` is 0x80 and the function."""

    LAYOUT = Struct(">BB2xIQIIIIII8x")
    opcode: int = Opcode.TASK_MANAGEMENT_REQUEST | IMMEDIATE
    flags: int = FINAL
    lengths: int = 0
    lun: int = 0
    itt: int = 0
    referenced_tag: int = NO_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    ref_cmd_sn: int = 0
    exp_data_sn: int = 0

    @property
    def function(self) -> int:
        """The function, one of opcodes.TaskManagement."""
        return self.flags & 0x7F


@dataclass(frozen=True, slots=True)
class TaskManagementResponse(Header):
    """RFC 7143 11.6; `response` is one of opcodes.FunctionResponse."""

    LAYOUT = Struct(">BBBxI8xI4xIII12x")
    opcode: int = Opcode.TASK_MANAGEMENT_RESPONSE
    flags: int = FINAL
    response: int = 0
    lengths: int = 0
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0


@dataclass(frozen=True, slots=True)
class AsyncMessage(Header):
    """RFC 7143 11.9; `event` is one of opcodes.AsyncEvent."""

    LAYOUT = Struct(">BB2xIQI4xIIIBBHHH4x")
    opcode: int = Opcode.ASYNC_MESSAGE
    flags: int = FINAL
    lengths: int = 0
    lun: int = 0
    itt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    event: int = 0
    vendor_code: int = 0
    parameter1: int = 0
    parameter2: int = 0
    parameter3: int = 0


@dataclass(frozen=True, slots=True)
class Reject(Header):
    """RFC 7143 11.17; its data segment is the header of the PDU it refuses."""

    LAYOUT = Struct(">BBBxI8xI4xIIII8x")
    opcode: int = Opcode.REJECT
    flags: int = FINAL
    reason: int = 0
    lengths: int = 0
    itt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data_sn: int = 0


def pdu(header: Header, data: bytes = b"") -> bytes:
    """A complete PDU without digests: the header with its DataSegmentLength, the data, padding."""
    packed = bytearray(header.pack())
    packed[4:8] = len(data).to_bytes(4, "big")
    return bytes(packed) + data + bytes(padding(len(data)))


def renumber(response: bytes, exp_cmd_sn: int, max_cmd_sn: int) -> bytes:
    """A PDU towards the initiator with other ExpCmdSN and MaxCmdSN."""
    return response[:28] + exp_cmd_sn.to_bytes(4) + max_cmd_sn.to_bytes(4) + response[36:]


def reject(reason: int, refused_header: bytes) -> bytes:
    """A complete Reject of a PDU, its numbering left to whoever sends it."""
    return pdu(Reject(reason=reason), refused_header)
