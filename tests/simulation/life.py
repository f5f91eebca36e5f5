"""Sessions of a simulated machine: it logs in, works, and goes in every way that a machine can go."""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.hostile.wire import (
    COMMAND,
    DATA_IN,
    DATA_OUT,
    FINAL,
    IMMEDIATE,
    LOGIN,
    LOGIN_RESPONSE,
    LOGOUT,
    NO_TAG,
    NOP_IN,
    NOP_OUT,
    R2T,
    READ_BIT,
    RESPONSE,
    TASK_MANAGEMENT,
    WRITE_BIT,
    Answer,
    cdb_read16,
    cdb_write10,
    pdu,
    text,
)
from tests.simulation.network import Pipe

if TYPE_CHECKING:
    from tests.simulation.storm import Storm

TARGET = "iqn.2026-11.io.goldherd:storm"
BLOCKS, BLOCK_BYTES = 16, 512
PATIENCE_SECONDS = 200.0
"""Nothing takes so long, whatever happens."""
BUSY = {0x0301, 0x020A, 0x0206}
"""Logins that may be refused in a storm: the disk is busy, the session to join has gone or has enough connections."""


LEADING_KEYS = {"MaxConnections": "3", "FirstBurstLength": "4096", "MaxBurstLength": "8192"}


class Gone(Exception):
    """The connection has ended."""


@dataclass(eq=False)
class Connection:
    """The initiator's end of one connection of a session."""

    pipe: Pipe
    cid: int
    received: bytearray = field(default_factory=bytearray)

    async def answer(self) -> Answer:
        """The next PDU; Gone when there is none."""
        header = await self._take(48)
        length = int.from_bytes(header[5:8])
        data = await self._take(length + -length % 4)
        return Answer(header, data[:length])

    async def _take(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.received) < count:
                more = await self.pipe.receive(65536)
                if not more:
                    raise Gone
                self.received += more
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken


class Life:
    """One session of a machine, from its login to whatever end."""

    def __init__(self, storm: "Storm", port: int) -> None:
        self.storm, self.port = storm, port
        self.chance = storm.chance
        self.number = next(storm.lives_begun)
        self.connections: list[Connection] = []
        self.cmd_sn = 1
        self.tags = itertools.count(1)
        self.stamps = itertools.count(1)
        self.pending: dict[int, bytes] = {}
        """Data of writes whose answer has not come, by Initiator Task Tag."""
        self.tsih = 0
        self.session: Any = None
        """The server's record of it."""

    def __str__(self) -> str:
        return f"{self.number} (port {self.port})"

    # --- the ways of a life ---

    async def live(self) -> None:
        """Logs in, does something, goes in some way."""
        if not await self.log_in(half=self.chance.random() < 0.1):
            return
        await self.make_ready()
        for _ in range(self.chance.randrange(8)):
            await self.chance.choice((self.write, self.write, self.read, self.leave_a_write, self.abort, self.add))()
        match self.chance.randrange(5):
            case 0:
                await self.log_out()
            case 1:
                self.chance.choice(self.connections).pipe.reset()
            case 2:
                for connection in self.connections:
                    connection.pipe.close()
            case 3:
                self.leave_half_a_pdu()
            case _:
                pass  # it stays, says nothing any more, and is found by whoever comes next

    async def end_well(self) -> None:
        """When the storm is over a login succeeds, and the disk holds what was acknowledged."""
        while not await self.log_in():
            await asyncio.sleep(1)
        await self.make_ready()
        await self.write()
        await self.read()
        await self.log_out()

    # --- sessions and connections ---

    async def log_in(self, *, half: bool = False) -> bool:
        """A new session; False when it was refused or given up."""
        connection = Connection(self.storm.network.connect(), 0)
        self.storm.life_of[connection.pipe.number] = self
        answer = await self._log_in(connection, tsih=0, half=half, **LEADING_KEYS)
        if answer is None:
            return False
        self.tsih = int.from_bytes(answer.header[14:16])
        self.connections = [connection]
        return True

    async def add(self) -> None:
        """One more connection, or one in place of another."""
        cids = [each.cid for each in self.connections]
        cid = self.chance.choice([*cids, max(cids) + 1])
        connection = Connection(self.storm.network.connect(), cid)
        if await self._log_in(connection, tsih=self.tsih, half=self.chance.random() < 0.1) is None:
            return
        old = [each for each in self.connections if each.cid == cid]
        self.connections = [each for each in self.connections if each.cid != cid] + [connection]
        for each in old:
            each.pipe.close()
            self.pending.clear()  # what was sent on it gets no answer any more

    async def _log_in(self, connection: Connection, *, tsih: int, half: bool = False, **keys: str) -> Answer | None:
        keys = {"InitiatorName": f"{TARGET}.port{self.port}", "TargetName": TARGET, "SessionType": "Normal", **keys}
        request = pdu(
            LOGIN | IMMEDIATE,
            text(**keys),
            flags=0x87,
            isid=0x00023D000000 + self.port,
            tsih=tsih,
            cid=connection.cid,
            itt=next(self.tags),
            cmd_sn=self.cmd_sn,
        )
        if half:
            connection.pipe.send(request[: self.chance.randrange(len(request))])
            self.chance.choice((connection.pipe.reset, connection.pipe.close))()
            return None
        connection.pipe.send(request)
        answer = await connection.answer()
        assert answer.opcode == LOGIN_RESPONSE
        if answer.login_status:
            assert answer.login_status in BUSY, f"login refused: {answer.login_status:04x}"
            return None
        return answer

    async def log_out(self) -> None:
        connection = self.chance.choice(self.connections)
        self._send(connection, LOGOUT | IMMEDIATE, flags=FINAL)
        with contextlib.suppress(Gone):
            while True:
                await connection.answer()

    def leave_half_a_pdu(self) -> None:
        """The machine stops in the middle of a write."""
        connection = self.chance.choice(self.connections)
        whole = self._write_pdu(self.chance.randrange(BLOCKS), 4096)[1]
        connection.pipe.send(whole[: self.chance.randrange(len(whole))])
        if self.chance.random() < 0.5:
            connection.pipe.reset()

    # --- commands ---

    def _send(self, connection: Connection, opcode: int, data: bytes = b"", **fields: Any) -> int:
        tag = next(self.tags)
        connection.pipe.send(pdu(opcode, data, itt=tag, cmd_sn=self.cmd_sn, **fields))
        return tag

    async def make_ready(self) -> None:
        """TEST UNIT READY until there is no unit attention any more."""
        while True:
            connection = self.connections[0]
            tag = self._send(connection, COMMAND, flags=FINAL, cdb=bytes(6))
            self.cmd_sn += 1
            if (await self._status(connection, tag)).header[3] == 0:
                return

    def _write_pdu(self, block: int, size: int) -> tuple[int, bytes]:
        """A WRITE, its data in as many bytes of immediate data as chance wants."""
        tag = next(self.tags)
        blocks = [
            (self.port.to_bytes(4) + self.number.to_bytes(4) + next(self.stamps).to_bytes(8)).ljust(BLOCK_BYTES, b"#")
            for _ in range(size // BLOCK_BYTES)
        ]
        data = b"".join(blocks)
        now = min(self.chance.choice((0, 512, 4096)), size)
        whole = pdu(
            COMMAND,
            data[:now],
            flags=FINAL | WRITE_BIT,
            itt=tag,
            cmd_sn=self.cmd_sn,
            edtl=size,
            cdb=cdb_write10(self.port * 64 + block, size // BLOCK_BYTES),
        )
        self.cmd_sn += 1
        self.pending[tag] = data
        self.storm.counts["writes"] += 1
        return tag, whole

    async def write(self) -> None:
        """An acknowledged write has landed."""
        connection = self.chance.choice(self.connections)
        tag, whole = self._write_pdu(self.chance.randrange(BLOCKS), self.chance.choice((512, 4096, 16384)))
        data = self.pending[tag]
        connection.pipe.send(whole)
        answer = await self._status(connection, tag)
        assert answer.header[3] == 0, f"a write failed: {answer.sense}"
        for at in range(0, len(data), BLOCK_BYTES):
            assert data[at : at + 16] in self.storm.landed, "a write was acknowledged and did not land"

    async def leave_a_write(self) -> None:
        """Sent, and not waited for."""
        self.chance.choice(self.connections).pipe.send(self._write_pdu(self.chance.randrange(BLOCKS), 4096)[1])

    async def abort(self) -> None:
        """ABORT TASK SET, or ABORT TASK of something sent before."""
        connection = self.chance.choice(self.connections)
        function = 1 if self.pending and self.chance.random() < 0.5 else 2
        referenced = self.chance.choice(list(self.pending)) if function == 1 else NO_TAG
        tag = self._send(
            connection,
            TASK_MANAGEMENT | IMMEDIATE,
            flags=FINAL | function,
            referenced_tag=referenced,
            ref_cmd_sn=self.cmd_sn,
        )
        await self._status(connection, tag)

    async def read(self) -> None:
        """What is there was written by somebody of this port, or nobody."""
        connection = self.chance.choice(self.connections)
        block = self.chance.randrange(BLOCKS)
        tag = self._send(
            connection, COMMAND, flags=FINAL | READ_BIT, edtl=BLOCK_BYTES, cdb=cdb_read16(self.port * 64 + block, 1)
        )
        self.cmd_sn += 1
        answer = await self._status(connection, tag)
        if answer.opcode == DATA_IN:
            stamp = answer.data[:16]
            assert stamp == bytes(16) or stamp in self.storm.landed

    async def _status(self, connection: Connection, tag: int) -> Answer:
        """The answer that ends that request; meanwhile R2Ts and pings are answered."""
        while True:
            answer = await connection.answer()
            own = int.from_bytes(answer.header[16:20])
            if answer.opcode == R2T:
                self._data_out(connection, own, answer)
            elif answer.opcode == NOP_IN and own == NO_TAG:
                ttt = int.from_bytes(answer.header[20:24])
                connection.pipe.send(pdu(NOP_OUT | IMMEDIATE, itt=NO_TAG, ttt=ttt, cmd_sn=self.cmd_sn))
            elif answer.opcode == RESPONSE or answer.header[0] & 0x3F == 0x22 or answer.header[1] & 1:
                self.pending.pop(own, None)
                if own == tag:
                    return answer

    def _data_out(self, connection: Connection, tag: int, r2t: Answer) -> None:
        ttt, offset = int.from_bytes(r2t.header[20:24]), int.from_bytes(r2t.header[40:44])
        length = int.from_bytes(r2t.header[44:48])
        data = self.pending.get(tag)
        if data is None:
            return
        for number, at in enumerate(range(offset, offset + length, 4096)):
            part = data[at : min(at + 4096, offset + length)]
            last = at + 4096 >= offset + length
            connection.pipe.send(
                pdu(DATA_OUT, part, flags=FINAL if last else 0, itt=tag, ttt=ttt, data_sn=number, buffer_offset=at)
            )


class Bystander(Life):
    """Works on its own blocks of the same disk; no storm ends its session."""

    async def work(self, over: asyncio.Event) -> None:
        """Until the storm is over; Gone would be a failure."""
        while not await self.log_in():
            await asyncio.sleep(1)
        await self.make_ready()
        while not over.is_set():
            await self.chance.choice((self.write, self.read))()
            await asyncio.sleep(self.chance.random())
        await self.log_out()
