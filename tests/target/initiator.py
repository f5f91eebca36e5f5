"""The tests' own initiator: raw PDUs over a socket, so that a test can do what no well-behaved client does.

Written without goldherd's session code (RFC 7143 section 11, SBC-3), so that a mistake there is not made twice.
Start reading at log_in() and Session.
"""

import hashlib
import socket
import struct
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

LINUX_ISID = bytes.fromhex("00023d000001")
"""What Linux's iscsistart and iscsid send, on every machine and at every boot."""
SECTOR = 512
NO_TAG = 0xFFFFFFFF
SIMPLE = 1
NORMAL_KEYS = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "MaxConnections": "1",
    "ErrorRecoveryLevel": "0",
}
OWN_KEYS = ("HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength")
"""What each connection of a session agrees on for itself."""
ALGORITHMS = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256, 8: hashlib.sha3_256}


def loader_isid(number: int) -> bytes:
    """An ISID as iPXE makes it: enterprise number 10019 and a random qualifier, new for each connection."""
    return bytes.fromhex("40002723") + number.to_bytes(2, "big")


class LoginRefusedError(Exception):
    """The target answered a login with an error status."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(f"login refused: {status:#06x}")
        self.status = status
        self.text = text


class ConnectionEndedError(Exception):
    """The target closed the connection."""


@dataclass(frozen=True)
class Chap:
    """What an initiator knows for CHAP, and which algorithm it offers."""

    user: str
    secret: bytes
    algorithm: int = 5
    mutual_user: str | None = None
    mutual_secret: bytes = b""
    base64: bool = False
    """Binary values as 0b... instead of 0x..."""

    def write(self, value: bytes) -> str:
        """A binary value as text (RFC 7143 6.1)."""
        return f"0b{b64encode(value).decode()}" if self.base64 else f"0x{value.hex()}"


@dataclass(frozen=True)
class Pdu:
    """One PDU from the target."""

    header: bytes
    data: bytes

    @property
    def opcode(self) -> int:
        return self.header[0] & 0x3F

    @property
    def itt(self) -> int:
        return int.from_bytes(self.header[16:20], "big")


@dataclass(frozen=True)
class Answer:
    """How a SCSI command ended."""

    status: int
    data: bytes = b""
    sense: bytes = b""

    @property
    def key(self) -> tuple[int, int, int]:
        """Sense key, additional sense code and qualifier (fixed format, SPC 4.4)."""
        return (self.sense[2] & 0xF, self.sense[12], self.sense[13]) if len(self.sense) > 13 else (0, 0, 0)


@dataclass
class Connection:
    """A TCP connection that speaks in PDUs."""

    socket: socket.socket

    def send(self, header: bytes, data: bytes = b"") -> None:
        """Fills in the DataSegmentLength, pads and sends."""
        whole = header[:4] + len(data).to_bytes(4, "big") + header[8:48].ljust(40, b"\0")
        self.socket.sendall(whole + data + bytes(-len(data) % 4))

    def receive(self) -> Pdu:
        """The next PDU; ConnectionEndedError when there is none."""
        header = self._exactly(48)
        length = int.from_bytes(header[5:8], "big")
        return Pdu(header, self._exactly(length + -length % 4)[:length])

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            try:
                part = self.socket.recv(count - len(received))
            except ConnectionResetError:
                part = b""
            if not part:
                raise ConnectionEndedError
            received += part
        return received

    def ended(self) -> bool:
        """Waits for the target to close the connection; False when it sends something instead."""
        try:
            self.receive()
        except ConnectionEndedError:
            return True
        return False


@dataclass
class Numbers:
    """What the connections of one session share."""

    cmd_sn: int = 1
    itt: int = 0


@dataclass
class Session(Connection):
    """One connection of a session in the full feature phase; it ends with the `with` block."""

    exp_stat_sn: int = 1
    isid: bytes = LINUX_ISID
    tsih: int = 0
    cid: int = 0
    numbers: Numbers = field(default_factory=Numbers)
    agreed: dict[str, str] = field(default_factory=dict)
    messages: list[Pdu] = field(default_factory=list)
    """Async messages that came meanwhile."""

    @property
    def cmd_sn(self) -> int:
        """The number of the session's next command."""
        return self.numbers.cmd_sn

    @cmd_sn.setter
    def cmd_sn(self, number: int) -> None:
        self.numbers.cmd_sn = number & NO_TAG

    @property
    def _itt(self) -> int:
        return self.numbers.itt

    @_itt.setter
    def _itt(self, number: int) -> None:
        self.numbers.itt = number

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def take(self) -> Pdu:
        """The next PDU that is neither ping nor async message; keeps count of StatSN."""
        while True:
            pdu = self.receive()
            if pdu.opcode in (0x21, 0x22, 0x24, 0x26, 0x32, 0x3F) or (pdu.opcode == 0x25 and pdu.header[1] & 1):
                self.exp_stat_sn = int.from_bytes(pdu.header[24:28], "big") + 1 & NO_TAG
            if pdu.opcode == 0x32:
                self.messages.append(pdu)
            elif pdu.opcode != 0x20 or pdu.itt != NO_TAG:
                return pdu

    def start(
        self,
        cdb: bytes,
        *,
        read: int = 0,
        write: bytes = b"",
        lun: int = 0,
        immediate: int = 0,
        cmd_sn: int | None = None,
        attribute: int = SIMPLE,
    ) -> int:
        """Sends a SCSI command without waiting; its Initiator Task Tag.

        `immediate` bytes of the data go with it, and no unsolicited Data-Out follows. `cmd_sn`: another number than
        the next one, which stays the next one.
        """
        self._itt += 1
        flags = 0x80 | attribute | (0x40 if read else 0) | (0x20 if write else 0)
        header = struct.pack(">BBxxI", 0x01, flags, 0) + struct.pack(">H6x", lun)
        number = self.cmd_sn if cmd_sn is None else cmd_sn
        header += struct.pack(">IIII", self._itt, read or len(write), number, self.exp_stat_sn)
        self.send(header + cdb.ljust(16, b"\0"), write[:immediate])
        if cmd_sn is None:
            self.cmd_sn += 1
        return self._itt

    def finish(self, itt: int, write: bytes = b"") -> Answer:
        """Serves the R2Ts of a command until its status comes."""
        received = bytearray()
        while True:
            pdu = self.take()
            if pdu.itt != itt:
                continue
            if pdu.opcode == 0x31:
                self._data_out(pdu, write)
            elif pdu.opcode == 0x25:
                offset = int.from_bytes(pdu.header[40:44], "big")
                received[offset : offset + len(pdu.data)] = pdu.data
                if pdu.header[1] & 1:
                    return Answer(pdu.header[3], bytes(received))
            else:
                assert pdu.opcode == 0x21, f"opcode {pdu.opcode:#x} in answer to a command"
                return Answer(pdu.header[3], bytes(received), pdu.data[2:])

    def _data_out(self, r2t: Pdu, write: bytes) -> None:
        offset, length = struct.unpack(">II", r2t.header[40:48])
        header = struct.pack(">BBxxI", 0x05, 0x80, 0) + r2t.header[8:16] + r2t.header[16:24]
        header += struct.pack(">4xI4xII", self.exp_stat_sn, 0, offset)
        self.send(header, write[offset : offset + length])

    def command(self, cdb: bytes, *, read: int = 0, write: bytes = b"", lun: int = 0) -> Answer:
        """A SCSI command from beginning to end."""
        return self.finish(self.start(cdb, read=read, write=write, lun=lun), write)

    def make_ready(self) -> Self:
        """TEST UNIT READY until no unit attention is left."""
        while self.command(bytes(6)).key[0] == 6:
            pass
        return self

    def read(self, lba: int, blocks: int, lun: int = 0) -> bytes:
        """READ(10); the data, which must come."""
        answer = self.command(struct.pack(">BBIBH", 0x28, 0, lba, 0, blocks), read=blocks * SECTOR, lun=lun)
        assert answer.status == 0, f"READ failed: {answer.key}"
        return answer.data

    def write(self, lba: int, data: bytes, *, fua: bool = False, lun: int = 0) -> Answer:
        """WRITE(10)."""
        cdb = struct.pack(">BBIBH", 0x2A, 8 if fua else 0, lba, 0, len(data) // SECTOR)
        return self.command(cdb, write=data, lun=lun)

    def flush(self) -> Answer:
        """SYNCHRONIZE CACHE(10)."""
        return self.command(b"\x35")

    def inquire(self) -> bytes:
        """INQUIRY: a command whose answer says that the session lives."""
        answer = self.command(b"\x12\0\0\0\x60", read=0x60)
        assert answer.status == 0
        return answer.data

    def ping(self) -> None:
        """An immediate NOP-Out and its NOP-In."""
        self._itt += 1
        header = struct.pack(">BBxxI8x", 0x40, 0x80, 0)
        self.send(header + struct.pack(">IIII", self._itt, NO_TAG, self.cmd_sn, self.exp_stat_sn))
        found = self.take()
        assert (found.opcode, found.itt) == (0x20, self._itt)

    def answer_ping(self) -> None:
        """Waits for a ping of the target, and answers it (RFC 7143 11.18)."""
        asked = self.receive()
        assert asked.opcode == 0x20 and asked.header[20:24] != NO_TAG.to_bytes(4)
        header = struct.pack(">BBxxI", 0x40, 0x80, 0) + asked.header[8:16] + NO_TAG.to_bytes(4) + asked.header[20:24]
        self.send(header + struct.pack(">II", self.cmd_sn, self.exp_stat_sn))

    def text(self, keys: str) -> list[tuple[str, str]]:
        """One Text request and its answer."""
        self._itt += 1
        header = struct.pack(">BBxxI8x", 0x44, 0x80, 0)
        header += struct.pack(">IIII", self._itt, NO_TAG, self.cmd_sn, self.exp_stat_sn)
        self.send(header, keys.encode())
        found = self.take()
        assert found.opcode == 0x24
        return [(key, value) for key, _, value in (item.partition("=") for item in _items(found.data))]

    def manage(self, function: int, *, itt: int = NO_TAG, lun: int = 0, ref_cmd_sn: int = 0) -> int:
        """A task management request, immediate; its response."""
        self._itt += 1
        header = struct.pack(">BBxxIH6x", 0x42, 0x80 | function, 0, lun)
        self.send(header + struct.pack(">IIIII", self._itt, itt, self.cmd_sn, self.exp_stat_sn, ref_cmd_sn))
        while (found := self.take()).opcode != 0x22:
            pass
        return found.header[2]

    def ask_to_log_out(self, reason: int = 0, cid: int = 0) -> int:
        """A Logout: reason 0 the session, 1 the connection `cid`; its response."""
        self._itt += 1
        header = struct.pack(">BBxxI8x", 0x46, 0x80 | reason, 0)
        self.send(header + struct.pack(">IHxxII", self._itt, cid, self.cmd_sn, self.exp_stat_sn))
        while (found := self.take()).opcode != 0x26:
            pass
        return found.header[2]

    def log_out(self) -> None:
        """Closes the session; the target closes the connection after its answer."""
        assert self.ask_to_log_out() == 0
        assert self.ended()


@dataclass
class LoginPhase:
    """The requests of one login share everything but stage and text."""

    connection: Connection
    isid: bytes
    tsih: int = 0
    cid: int = 0
    cmd_sn: int = 1
    stat_sn: int = 0

    def ask(self, flags: int, keys: Mapping[str, str]) -> tuple[Pdu, dict[str, str]]:
        """One Login request; its response and the keys in it. LoginRefusedError for an error status."""
        header = struct.pack(">BBxxI", 0x43, flags, 0) + self.isid + self.tsih.to_bytes(2, "big")
        header += struct.pack(">IHxxII", 7, self.cid, self.cmd_sn, self.stat_sn)
        self.connection.send(header, "".join(f"{key}={value}\0" for key, value in keys.items()).encode())
        pdu = self.connection.receive()
        assert pdu.opcode == 0x23
        self.stat_sn = int.from_bytes(pdu.header[24:28], "big") + 1 & NO_TAG
        status = int.from_bytes(pdu.header[36:38], "big")
        if status:
            raise LoginRefusedError(status, pdu.data.decode())
        return pdu, dict(item.split("=", 1) for item in _items(pdu.data))


def connect(portal: tuple[str, int]) -> socket.socket:
    """A TCP connection to a portal; a test that would wait for ever fails after half a minute."""
    connection = socket.create_connection(portal, timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def log_in(
    portal: tuple[str, int],
    target: str | None,
    initiator: str,
    *,
    isid: bytes = LINUX_ISID,
    tsih: int = 0,
    cid: int = 0,
    joins: Session | None = None,
    chap: Chap | None = None,
    keys: Mapping[str, str] | None = None,
    on: socket.socket | None = None,
) -> Session:
    """A session in the full feature phase; with `target` None a discovery session.

    `joins`: a connection of that session, with the `cid`, shares its numbering.
    Raises LoginRefusedError with the status, ConnectionEndedError when the target answers nothing.
    """
    session = Session(on or connect(portal), isid=isid, cid=cid)
    if joins is not None:
        session.isid, tsih, session.numbers = joins.isid, joins.tsih, joins.numbers
    try:
        phase = LoginPhase(session, session.isid, tsih, cid, session.cmd_sn)
        names = {"InitiatorName": initiator, "SessionType": "Discovery" if target is None else "Normal"}
        if target is not None:
            names["TargetName"] = target
        if chap is not None:
            _authenticate(phase, names, chap)
            names = {}
        offered = NORMAL_KEYS if joins is None else {key: NORMAL_KEYS[key] for key in OWN_KEYS}
        last, session.agreed = phase.ask(0x87, names | offered | dict(keys or {}))
    except BaseException:
        session.socket.close()
        raise
    assert last.header[1] & 0x83 == 0x83, "the target did not go to the full feature phase"
    session.tsih = int.from_bytes(last.header[14:16], "big")
    session.exp_stat_sn = phase.stat_sn
    return session


def _authenticate(phase: LoginPhase, names: Mapping[str, str], chap: Chap) -> None:
    """The security stage with CHAP (RFC 7143 12.1.3); checks the target's own proof when it is mutual."""
    _, found = phase.ask(0x00, {**names, "AuthMethod": "CHAP"})
    assert found["AuthMethod"] == "CHAP"
    _, found = phase.ask(0x00, {"CHAP_A": str(chap.algorithm)})
    assert found["CHAP_A"] == str(chap.algorithm)
    proof = _respond(chap.algorithm, int(found["CHAP_I"]), chap.secret, bytes.fromhex(found["CHAP_C"][2:]))
    keys = {"CHAP_N": chap.user, "CHAP_R": chap.write(proof)}
    ours = hashlib.sha256(chap.secret).digest()[:16]
    if chap.mutual_user is not None:
        keys |= {"CHAP_I": "77", "CHAP_C": chap.write(ours)}
    last, found = phase.ask(0x81, keys)
    assert last.header[1] & 0x83 == 0x81, "the target did not go to the operational stage"
    if chap.mutual_user is not None:
        assert found["CHAP_N"] == chap.mutual_user
        assert bytes.fromhex(found["CHAP_R"][2:]) == _respond(chap.algorithm, 77, chap.mutual_secret, ours)


def _respond(algorithm: int, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    return ALGORITHMS[algorithm](bytes([identifier]) + secret + challenge).digest()


def _items(data: bytes) -> list[str]:
    return [item for item in data.decode().split("\0") if item]
