"""A small initiator that logs in, asks for the size and logs out; what comes between is loadgen's.

Written without goldherd's own session code, so that a mistake there is not made twice (RFC 7143 11, SBC-3).
"""

import itertools
import socket
import struct
from dataclasses import dataclass

LOGIN_KEYS = {
    "SessionType": "Normal",
    "HeaderDigest": "None",
    "DataDigest": "None",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "MaxBurstLength": "16776192",
    "FirstBurstLength": "262144",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "MaxConnections": "1",
    "ErrorRecoveryLevel": "0",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
}
IMMEDIATE = 0x40
LOGIN_REQUEST, SCSI_COMMAND, LOGOUT_REQUEST = 0x03, 0x01, 0x06
LOGIN_RESPONSE, SCSI_RESPONSE, DATA_IN, LOGOUT_RESPONSE, NOP_IN = 0x23, 0x21, 0x25, 0x26, 0x20
OPERATIONAL_TO_FULL_FEATURE = 0x87  # T=1, CSG=1, NSG=3
UNIT_ATTENTIONS_MAX = 10
numbers = itertools.count(1)


class LoginError(Exception):
    """The target did not let us in, or not to this disk."""


@dataclass
class Session:
    """One normal session with one connection, in the full feature phase."""

    socket: socket.socket
    lun: int
    cmd_sn: int
    exp_stat_sn: int
    max_cmd_sn: int
    segment_bytes_max: int
    """The target's MaxRecvDataSegmentLength."""
    immediate_bytes_max: int
    """Data that may come with a command; 0 when ImmediateData=No."""
    size_bytes: int = 0

    def send(self, opcode: int, flags: int, lun: bytes, rest: bytes, data: bytes = b"") -> None:
        """One PDU; `rest` are the bytes from the Initiator Task Tag on."""
        header = struct.pack(">BBxxI", opcode, flags, len(data)) + lun + rest
        self.socket.sendall(header.ljust(48, b"\0") + data + bytes(-len(data) % 4))

    def receive(self) -> tuple[bytes, bytes]:
        """The next PDU that is not a ping: (header, data)."""
        while True:
            header = self.receive_exactly(48)
            ahs, length = header[4] * 4, int.from_bytes(header[5:8])
            data = self.receive_exactly(ahs + length + -length % 4)[ahs : ahs + length]
            self.max_cmd_sn = int.from_bytes(header[32:36])
            if header[0] & 0x3F != NOP_IN:
                return header, data

    def receive_exactly(self, count: int) -> bytes:
        """That many bytes, or LoginError when the target closes before."""
        parts = []
        while count:
            part = self.socket.recv(count)
            if not part:
                raise LoginError("the target closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def command(self, cdb: bytes, length: int = 0) -> tuple[int, bytes]:
        """A command that reads at most `length` bytes: (SCSI status, data)."""
        tag = struct.pack(">IIII", 0, length, self.cmd_sn, self.exp_stat_sn)
        self.send(SCSI_COMMAND, 0xC1 if length else 0x81, struct.pack(">H6x", self.lun), tag + cdb.ljust(16, b"\0"))
        self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF
        received = b""
        while True:
            header, data = self.receive()
            opcode = header[0] & 0x3F
            received += data if opcode == DATA_IN else b""
            if opcode == SCSI_RESPONSE or (opcode == DATA_IN and header[1] & 1):
                self.exp_stat_sn = (int.from_bytes(header[24:28]) + 1) & 0xFFFFFFFF
                return header[3], received

    def make_ready(self) -> None:
        """TEST UNIT READY until the unit attentions are told, then READ CAPACITY for the size."""
        for _ in range(UNIT_ATTENTIONS_MAX):
            if self.command(bytes(6))[0] == 0:
                break
        status, data = self.command(b"\x9e\x10" + bytes(11) + b"\x20", 32)
        if status or len(data) < 12:
            raise LoginError(f"LUN {self.lun} gave no capacity: status {status:#x}")
        last, block = struct.unpack(">QI", data[:12])
        self.size_bytes = (last + 1) * block

    def log_out(self) -> None:
        """Closes the session in good order (RFC 7143 11.14)."""
        self.send(
            LOGOUT_REQUEST | IMMEDIATE,
            0x80,
            bytes(8),
            struct.pack(">IIII", 0, 0, self.cmd_sn, self.exp_stat_sn),
        )
        while self.receive()[0][0] & 0x3F != LOGOUT_RESPONSE:
            pass
        self.socket.close()


def log_in(host: str, port: int, target: str, lun: int = 0, initiator: str = "", isid: bytes = b"") -> Session:
    """A session in the full feature phase. Each has an ISID of its own, so that none reinstates another."""
    number = next(numbers)
    initiator = initiator or f"iqn.2026-11.io.goldherd.bench:{number}"
    keys = {"InitiatorName": initiator, "TargetName": target, **LOGIN_KEYS}
    text = "".join(f"{key}={value}\0" for key, value in keys.items()).encode()
    connection = socket.create_connection((host, port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    session = Session(connection, lun, 1, 1, 1, 8192, 0)
    isid = isid or b"\x80" + number.to_bytes(5)  # random type: unique is all it must be
    rest = struct.pack(">IHxxII", number & 0xFFFF, 0, 1, 1)
    session.send(LOGIN_REQUEST | IMMEDIATE, OPERATIONAL_TO_FULL_FEATURE, isid + bytes(2), rest, text)
    answer, data = session.receive()
    if answer[0] & 0x3F != LOGIN_RESPONSE or answer[36]:
        raise LoginError(f"login to {target} as {initiator} refused: status {answer[36]:02x}{answer[37]:02x}")
    if answer[1] & 0x83 != 0x83:
        raise LoginError(f"{target} did not go to the full feature phase at once: flags {answer[1]:#x}")
    session.exp_stat_sn = (int.from_bytes(answer[24:28]) + 1) & 0xFFFFFFFF
    agreed = dict(item.split("=", 1) for item in data.decode().split("\0") if "=" in item)
    session.segment_bytes_max = int(agreed.get("MaxRecvDataSegmentLength", "8192"))
    if agreed.get("ImmediateData", "Yes") == "Yes":
        first_burst = int(agreed.get("FirstBurstLength", LOGIN_KEYS["FirstBurstLength"]))
        session.immediate_bytes_max = min(first_burst, session.segment_bytes_max)
    session.make_ready()
    return session
