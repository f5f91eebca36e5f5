"""How two processes speak about a hand-over: packets with descriptors, over a pair of Unix sockets.

A packet is a JSON object of a few bytes; what is long lies in a memory file whose descriptor comes along, so that no
packet has a length to be trusted. Calls wait: make them on a thread that may.
"""

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from goldherd import limits
from goldherd.errors import GoldherdError


class HandoverError(GoldherdError):
    """A hand-over that did not happen; its text says why."""


@dataclass(slots=True)
class Packet:
    """What came: a kind, its fields, the descriptors that came along (now the receiver's), and the long part."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    descriptors: list[int] = field(default_factory=list)
    content: bytes = b""

    def close(self) -> None:
        """Closes the descriptors that were not taken."""
        while self.descriptors:
            os.close(self.descriptors.pop())


class Channel:
    """One end.

    Args:
        end: the socket, of which the channel is the owner from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> "tuple[Channel, socket.socket]":
        """A channel, and the other end for another process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def send(self, kind: str, *, descriptors: Sequence[int] = (), content: bytes = b"", **fields: Any) -> None:
        """One packet; HandoverError when the other process has ended."""
        packet = json.dumps({"kind": kind, "long": bool(content), **fields}).encode()
        memory = _memory_file(content) if content else -1
        try:
            self._socket.settimeout(limits.HANDOVER_ANSWER_SECONDS)
            passed = [*([memory] if content else []), *descriptors]
            socket.send_fds(self._socket, [packet], passed)
        except OSError as failure:
            raise HandoverError(f"The other process has ended ({failure.strerror or failure}).") from None
        finally:
            if memory >= 0:
                os.close(memory)

    def send_descriptors(self, kind: str, descriptors: Sequence[int]) -> None:
        """As many packets as the descriptors need."""
        for start in range(0, len(descriptors), limits.HANDOVER_DESCRIPTORS_MAX):
            self.send(kind, descriptors=descriptors[start : start + limits.HANDOVER_DESCRIPTORS_MAX])

    def receive(self, seconds: float, *kinds: str) -> Packet:
        """The next packet, which must be of one of these kinds.

        Raises: HandoverError when the other process refuses, ends, says something else, or nothing for so long.
        """
        self._socket.settimeout(seconds)
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._socket, limits.HANDOVER_PACKET_BYTES, limits.HANDOVER_DESCRIPTORS_MAX + 1, socket.MSG_CMSG_CLOEXEC
            )
        except TimeoutError:
            raise HandoverError(f"The other process said nothing for {seconds:g} s.") from None
        except OSError as failure:
            raise HandoverError(f"The other process has ended ({failure.strerror or failure}).") from None
        packet = Packet("", descriptors=descriptors)
        try:
            if not data:
                raise HandoverError("The other process has ended.")
            packet.fields = dict(json.loads(data))
            packet.kind = str(packet.fields.pop("kind"))
            if packet.fields.pop("long", False):
                packet.content = _read_all(packet.descriptors.pop(0))
        except (ValueError, KeyError, TypeError, IndexError):
            packet.close()
            raise HandoverError("The other process said something that this version does not understand.") from None
        except BaseException:
            packet.close()
            raise
        if packet.kind == "refused":
            packet.close()
            raise HandoverError(str(packet.fields.get("reason", "The other process refused.")))
        if packet.kind not in kinds:
            packet.close()
            raise HandoverError(f"The other process said '{packet.kind}' where {' or '.join(kinds)} was expected.")
        return packet

    def holds(self, kind: str) -> bool:
        """Whether a packet of that kind has come already, from a process that has ended."""
        try:
            self.receive(limits.HANDOVER_LOOK_SECONDS, kind).close()
        except HandoverError:
            return False
        return True

    def close(self) -> None:
        """Ends the conversation: the other process notices."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("goldherd-handover", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read_all(descriptor: int) -> bytes:
    """The content of a memory file, which is closed; ValueError when it is longer than any state is."""
    with open(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > limits.HANDOVER_BYTES_MAX:
            raise ValueError(f"{size} bytes")
        return os.pread(file.fileno(), size, 0) if size <= 1 << 30 else _read_long(file.fileno(), size)


def _read_long(descriptor: int, size: int) -> bytes:
    """One system call reads no more than 2 GiB."""
    return b"".join(os.pread(descriptor, 1 << 30, start) for start in range(0, size, 1 << 30))
