"""Text Requests of the full feature phase, without I/O: SendTargets and what else may be said there (RFC 7143
11.10).

Theory of operation. A request with F=1 and all its text is answered at once, F=1. A request with C=1 goes on
in the next one; a request with F=0 has more to say. Both are answered with an empty response that carries a
Target Transfer Tag, and the next request brings that tag back. An answer that doesn't fit into one data
segment goes out in pieces with C=1, and the initiator fetches each next piece with an empty request and the
tag. A request without tag forgets whatever was unfinished. What doesn't fit the exchange is answered with a
Reject.

StatSN, ExpCmdSN and MaxCmdSN (bytes 24 to 35) of what `receive` returns are zero: the reactor fills them in.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from goldherd import limits
from goldherd.errors import GoldherdError, ProtocolError
from goldherd.model.handover import MovedText
from goldherd.negotiation.keys import KEYS, LONG_VALUES, TARGET_ONLY, Phase
from goldherd.wire import header, text
from goldherd.wire.opcodes import NO_TAG, Flag, Opcode, RejectReason

SendTargets = Callable[[str], Awaitable["list[text.Pair] | None"]]
"""discovery.send_targets with everything but the value filled in."""

_SEGMENT: Final = KEYS["MaxRecvDataSegmentLength"]


class TextExchange:
    """The Text exchanges of one connection, one at a time.

    Args:
        send_targets: answers a SendTargets value; None for one that can't be had here.
        max_send_data_segment: the initiator's MaxRecvDataSegmentLength, bytes.
    """

    def __init__(self, send_targets: SendTargets, max_send_data_segment: int) -> None:
        self._send_targets = send_targets
        self.max_send_data_segment = max_send_data_segment
        """What the initiator declared last; look at it after each `receive` that returned an answer."""
        self.refusal = ""
        """Why the last PDU was rejected, for the log."""
        self._last_tag = 0
        self._pieces: list[bytes] = []
        self._forget()

    def state(self) -> MovedText:
        """The exchange that is open, for another process."""
        return MovedText(
            last_tag=self._last_tag,
            tag=self._tag,
            itt=self._itt,
            rounds=self._rounds,
            collected=self._collector.held,
            pieces=tuple(self._pieces),
        )

    def restore(self, state: MovedText, max_send_data_segment: int) -> None:
        """Goes on with an exchange of another process."""
        self.max_send_data_segment = max_send_data_segment
        self._last_tag, self._tag, self._itt, self._rounds = state.last_tag, state.tag, state.itt, state.rounds
        self._collector.add(state.collected, goes_on=True)
        self._pieces = list(state.pieces)

    def _forget(self) -> None:
        """No exchange is open."""
        self._tag = NO_TAG
        self._itt = NO_TAG
        self._rounds = 0
        self._collector = text.Collector()
        self._pieces = []

    async def receive(self, raw_header: bytes, data: bytes) -> list[bytes]:
        """Takes one Text Request when the one before is answered, gives one Text Response or Reject.

        Nothing a peer sends makes it raise.
        """
        self.refusal = ""
        try:
            request = self._checked(raw_header, data)
            return [await self._answer(request, data)]
        except ProtocolError as refusal:
            return [self._reject(raw_header, RejectReason.REJECT_PROTOCOL_ERROR, str(refusal))]
        except _FieldError as refusal:
            return [self._reject(raw_header, RejectReason.REJECT_INVALID_FIELD, str(refusal))]
        except Exception as failure:
            # A plugin that lists targets failed: this request has no answer, the session goes on.
            return [self._reject(raw_header, RejectReason.REJECT_OUT_OF_RESOURCES, f"{failure}")]

    def _reject(self, raw_header: bytes, reason: int, refusal: str) -> bytes:
        """Ends the exchange that is open."""
        self._forget()
        self.refusal = refusal
        return header.reject(reason, raw_header)

    def _checked(self, raw_header: bytes, data: bytes) -> header.TextRequest:
        """The request, if its header is one and belongs to the exchange that is open."""
        request = header.TextRequest.read(raw_header)
        if header.opcode_of(raw_header) != Opcode.TEXT_REQUEST:
            raise _FieldError("This is no Text Request.")
        if header.segment_bytes(raw_header) != (0, len(data)):
            raise _FieldError("The lengths of a Text Request don't match what came.")
        if request.itt == NO_TAG:
            raise _FieldError("A Text Request carries the reserved Initiator Task Tag.")
        if request.final and request.goes_on:
            raise ProtocolError("A Text Request has both F and C.")
        if request.ttt == NO_TAG:
            self._forget()
            self._itt = request.itt
        elif request.ttt != self._tag:
            raise _FieldError(f"There is no Text exchange with the Target Transfer Tag 0x{request.ttt:08x}.")
        elif request.itt != self._itt:
            raise _FieldError("The Initiator Task Tag changed within one Text exchange.")
        self._rounds += 1
        if self._rounds > limits.TEXT_ROUNDS_MAX:
            raise ProtocolError(f"A Text exchange took more than {limits.TEXT_ROUNDS_MAX} requests.")
        return request

    async def _answer(self, request: header.TextRequest, data: bytes) -> bytes:
        if self._pieces:
            if data or request.goes_on:
                raise ProtocolError("The initiator sent text while our answer was not complete.")
            return self._next_piece(request)
        whole = self._collector.add(data, goes_on=request.goes_on)
        if whole is None:
            return self._response(request, b"", final=False)
        answers: list[text.Pair] = []
        for name, value in text.parse(whole, LONG_VALUES).items():
            answers += await self._answers(name, value)
        self._pieces = text.pieces(text.join(answers), self.max_send_data_segment)
        return self._next_piece(request)

    def _next_piece(self, request: header.TextRequest) -> bytes:
        piece = self._pieces.pop(0)
        if self._pieces:
            return self._response(request, piece, final=False, goes_on=True)
        return self._response(request, piece, final=request.final)

    async def _answers(self, name: str, value: str) -> list[text.Pair]:
        """The answer to one key."""
        if name == "SendTargets":
            lines = await self._send_targets(value)
            return [(name, text.REJECT)] if lines is None else lines
        if name == _SEGMENT.name:
            return self._redeclared(value)
        key = KEYS.get(name)
        if key is None and name not in TARGET_ONLY:
            return [(name, text.NOT_UNDERSTOOD)]
        if key is None or not key.phase & Phase.FULL_FEATURE:
            # Known, but only a login may carry it (or only a target): it keeps the value it has.
            return [(name, text.REJECT)]
        return []

    def _redeclared(self, value: str) -> list[text.Pair]:
        """MaxRecvDataSegmentLength may be told anew at any time (RFC 7143 13.12)."""
        try:
            self.max_send_data_segment = text.number(value, _SEGMENT.low, _SEGMENT.high)
        except ProtocolError:
            return [(_SEGMENT.name, text.REJECT)]
        return []

    def _response(self, request: header.TextRequest, data: bytes, *, final: bool, goes_on: bool = False) -> bytes:
        """One Text Response. One that isn't final carries a new tag, so that an old one is recognised."""
        if final:
            self._forget()
        else:
            self._last_tag = (self._last_tag + 1) % NO_TAG
            self._tag = self._last_tag
        flags = (Flag.FINAL if final else 0) | (Flag.CONTINUE if goes_on else 0)
        return header.pdu(header.TextResponse(flags=flags, itt=request.itt, ttt=self._tag), data)


class _FieldError(GoldherdError):
    """A header field that can't be right (Reject reason 0x09)."""
