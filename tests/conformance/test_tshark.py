"""Wireshark as a judge (capture.py): what it must see, and what it may not count."""

import socket
from pathlib import Path

import pytest

from tests.conformance.capture import Capture
from tests.hostile.wire import COMMAND, DATA_IN, FINAL, READ_BIT, pdu

KEYS = (1).to_bytes(4) + (8).to_bytes(4) + bytes(8)
"""PERSISTENT RESERVE IN, READ KEYS."""
STATUS_BIT = 1


@pytest.mark.interop
@pytest.mark.parametrize(
    ("allocation", "complaints"), [(4096, 1), (7, 0)], ids=["by the target", "as the initiator asked"]
)
def test_an_answer_that_was_cut(tmp_path: Path, allocation: int, complaints: int) -> None:
    """What is wrong is seen, and what only Wireshark finds wrong is not counted: Data-In over a real connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = listening.getsockname()
        capture = Capture([place[1]], tmp_path)
        try:
            with socket.create_connection(place) as initiator, listening.accept()[0] as target:
                cdb = bytes.fromhex("5e000000000000") + allocation.to_bytes(2) + bytes(1)
                initiator.sendall(pdu(COMMAND, flags=FINAL | READ_BIT, itt=7, edtl=allocation, cdb=cdb))
                target.recv(48, socket.MSG_WAITALL)
                target.sendall(pdu(DATA_IN, KEYS[:7], flags=FINAL | STATUS_BIT, itt=7))
                initiator.recv(48, socket.MSG_WAITALL)
        finally:
            capture.stop()
    opcodes, found = capture.verdict()
    assert opcodes == {DATA_IN}
    assert len(found) == complaints, found
