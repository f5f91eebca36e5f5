"""An initiator over a raw socket that keeps to the protocol only as far as a case wants it to."""

import socket
import struct
from types import TracebackType
from typing import Any, Final, Self

from tests.hostile import wire
from tests.hostile.wire import FINAL, IMMEDIATE, NO_TAG, Answer, pdu

SECONDS_MAX: Final = 20.0
"""How long the target may take for an answer that must come: a hang, not a measurement."""
POUR_SECONDS: Final = 0.5
"""Who takes nothing for so long is full."""
PING_TAG: Final = 0xFEED0000

KEYS: Final = {
    "SessionType": "Normal",
    "HeaderDigest": "None",
    "DataDigest": "None",
    "MaxRecvDataSegmentLength": "262144",
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
}
"""What `enter` offers unless a case says otherwise."""


class Gone(Exception):
    """The target closed the connection."""


class Client:
    """One TCP connection.

    Args:
        portal: (host, port).
        source: the address to come from; a case has its own, so that limits per address meet it alone.
        receive_bytes: size of the socket's receive buffer; small for slow readers.
    """

    def __init__(self, portal: tuple[str, int], source: str = "127.0.0.1", receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(SECONDS_MAX)
        self.socket.bind((source, 0))
        self.socket.connect(portal)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cmd_sn = 1
        self.itt = 0x100
        self.isid = self.tsih = 0
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Ends the connection with a TCP RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- bytes ---

    def send(self, data: bytes) -> None:
        """Sends bytes; a target that has closed meanwhile is no error, the answer will tell."""
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            return

    def pour(self, data: bytes) -> None:
        """Sends without reading until all is sent, or the target takes no more for a while or has closed."""
        self.socket.settimeout(POUR_SECONDS)
        view = memoryview(data)
        try:
            while view:
                view = view[self.socket.send(view) :]
        except (TimeoutError, ConnectionError):
            return
        finally:
            self.socket.settimeout(SECONDS_MAX)

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            try:
                more = self.socket.recv(1 << 18)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Gone
            self._unread += more
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def receive(self) -> Answer:
        """The next PDU; Gone when the target closed, TimeoutError when it hangs."""
        header = self._take(wire.BHS_BYTES)
        length = int.from_bytes(header[5:8], "big")
        return Answer(header, self._take(length + -length % 4)[:length])

    def until_gone(self) -> list[Answer]:
        """All that comes until the target closes."""
        answers: list[Answer] = []
        while True:
            try:
                answers.append(self.receive())
            except Gone:
                return answers

    def until_pong(self) -> list[Answer]:
        """All that comes before the answer to a ping sent now; Gone if the session does not live."""
        self.send(pdu(wire.NOP_OUT | IMMEDIATE, itt=PING_TAG, ttt=NO_TAG, cmd_sn=self.cmd_sn))
        answers: list[Answer] = []
        while True:
            answer = self.receive()
            if answer.opcode == wire.NOP_IN and answer.field("itt") == PING_TAG:
                return answers
            answers.append(answer)

    # --- sessions ---

    def login(self, data: bytes, *, flags: int = 0x87, **fields: int) -> Answer:
        """One Login Request and its response; by default T=1 from operational to full feature."""
        values: dict[str, Any] = {"isid": 0x00023D000001, "itt": 1, "cid": 1, "cmd_sn": self.cmd_sn} | fields
        self.send(pdu(wire.LOGIN | IMMEDIATE, data, flags=flags, **values))
        return self.receive()

    def enter(self, initiator: str, target: str, *, isid: int = 0x00023D000001, **keys: str) -> Answer:
        """A whole login in one round; the response must be success."""
        names = {"InitiatorName": initiator, "TargetName": target}
        answer = self.login(wire.text(**names, **(KEYS | keys)), isid=isid)
        assert answer.opcode == wire.LOGIN_RESPONSE, f"opcode {answer.opcode:#x} in place of a Login Response"
        assert answer.login_status == 0, f"login refused with {answer.login_status:#06x}"
        self.isid, self.tsih = isid, answer.field("tsih")
        return answer

    def join(self, initiator: str, target: str, first: "Client", cid: int) -> None:
        """The login of one more connection of a session."""
        names = wire.text(InitiatorName=initiator, TargetName=target, MaxRecvDataSegmentLength="262144")
        answer = self.login(names, isid=first.isid, tsih=first.tsih, cid=cid)
        assert answer.login_status == 0, f"login refused with {answer.login_status:#06x}"
        self.isid, self.tsih = first.isid, first.tsih

    def request(self, opcode: int, data: bytes = b"", **fields: int) -> bytes:
        """A numbered request with a tag of its own, as bytes; `cdb` and `ahs` go by `command`."""
        values: dict[str, Any] = {"itt": self.next_tag(), "cmd_sn": self.cmd_sn} | fields
        if not opcode & IMMEDIATE:
            self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF
        return pdu(opcode, data, **values)

    def command_pdu(
        self,
        cdb: bytes,
        data: bytes = b"",
        *,
        flags: int = FINAL | 1,
        ahs: bytes = b"",
        immediate: bool = False,
        **fields: int,
    ) -> bytes:
        """A SCSI Command as bytes; numbered unless immediate."""
        values: dict[str, Any] = {"itt": self.next_tag(), "cmd_sn": self.cmd_sn} | fields
        if not immediate:
            self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF
        opcode = wire.COMMAND | (IMMEDIATE if immediate else 0)
        return pdu(opcode, data, cdb=cdb, ahs=ahs, flags=flags, **values)

    def next_tag(self) -> int:
        """An Initiator Task Tag nobody used yet."""
        self.itt += 1
        return self.itt

    def read(self, lba: int, blocks: int, *, lun: int = 0, block_bytes: int = 512) -> bytes:
        """READ(10) done right; unit attentions are passed over. AssertionError unless it ends well."""
        for _ in range(10):
            self.send(
                self.command_pdu(
                    wire.cdb_read10(lba, blocks),
                    flags=FINAL | wire.READ_BIT | 1,
                    edtl=blocks * block_bytes,
                    lun=lun << 48,
                )
            )
            data, answer = self._data_in()
            if answer.opcode != wire.RESPONSE or answer.sense[0] != 6:
                break
        assert answer.opcode == wire.DATA_IN, f"opcode {answer.opcode:#x}, sense {answer.sense}"
        assert answer.header[3] == 0, f"SCSI status {answer.header[3]:#x}"
        return data

    def _data_in(self) -> tuple[bytes, Answer]:
        """Data and the PDU with the status; NOP-In pings in between are passed over."""
        data = bytearray()
        while True:
            answer = self.receive()
            if answer.opcode == wire.DATA_IN:
                data += answer.data
                if answer.header[1] & 1:
                    return bytes(data), answer
            elif answer.opcode in (wire.RESPONSE, wire.REJECT):
                return bytes(data), answer

    def settle_attentions(self) -> None:
        """TEST UNIT READY until no unit attention waits, as every initiator begins."""
        for _ in range(10):
            self.send(self.command_pdu(bytes(6)))
            answer = self.receive()
            assert answer.opcode == wire.RESPONSE, f"opcode {answer.opcode:#x}"
            if answer.header[3] == 0 or answer.sense[0] != 6:
                return
