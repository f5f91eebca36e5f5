"""The login phase of one connection, without I/O: requests in, responses out (RFC 7143 section 6).

Feed each PDU to `Login.receive` and send what it returns. `receive` waits for nothing but the answers of its host,
which may ask a catalog, a name server or a plugin. When `finished` is set, `result` says what to do next; when
`closed` is set, close the connection after sending, and log `refusal`, which says what exactly was wrong and is never
told to the peer. Nothing a peer sends makes it raise. Time limits are the server's.

Start reading at states.py, where the stages and the session table are.
"""

from collections.abc import Mapping
from typing import Final

from goldherd import limits
from goldherd.errors import GoldherdError, LoginRedirectError, LoginStatus, ProtocolError, shown
from goldherd.model.iscsi_names import normalise
from goldherd.model.portals import Portal
from goldherd.model.targets import TargetConfig
from goldherd.negotiation.host import Exchange, LoginHost, LoginPolicy, LoginResult
from goldherd.negotiation.keys import IDENTITY, LONG_VALUES, Negotiation, Phase
from goldherd.negotiation.states import JOINS, MOVES, SESSION_ACTIONS, Handle, SessionAction, Status
from goldherd.wire import header, text
from goldherd.wire.opcodes import Flag, Opcode, Stage

_PHASES: Final[Mapping[int, Phase]] = {
    Stage.SECURITY: Phase.SECURITY,
    Stage.OPERATIONAL: Phase.OPERATIONAL,
}
_MASK: Final = 0xFFFFFFFF
_SEGMENT_DEFAULT: Final = limits.LOGIN_DATA_SEGMENT_BYTES_MAX


class Login:
    """One login on one connection.

    Args:
        host: answers about targets, proofs and sessions.
        portal: where the peer reached us.
        address: the peer's address, for the result.
        policy: the rules of this portal.
    """

    def __init__(self, host: LoginHost, portal: Portal, address: str, policy: LoginPolicy | None = None) -> None:
        self._host = host
        self._portal = portal
        self._address = address
        self._policy = policy or LoginPolicy()
        self._collector = text.Collector(self._policy.text_bytes_max)
        self._text_bytes = 0
        self._rounds = 0
        self._first: header.LoginRequest | None = None
        self._stage = int(Stage.SECURITY)
        self._stat_sn = 0
        self._unsent: list[bytes] = []
        self._seen: set[str] = set()
        self._initiator = ""
        self._target: TargetConfig | None = None
        self._exchange: Exchange | None = None
        self._method: str | None = None
        self._negotiation = Negotiation()
        self._segment_declared = False
        self.closed = False
        """The connection is to be closed, after sending what the last `receive` returned."""
        self.refusal = ""
        """Why it was closed, for the log: one sentence."""
        self.result: LoginResult | None = None
        self.joins: int | None = None
        """The TSIH of the session that this connection is to belong to, once the initiator has proved that it is
        its own. The numbering of the session is then not ours to tell: see `_max_cmd_sn`."""

    @property
    def finished(self) -> bool:
        """Whether full feature phase begins after sending what the last `receive` returned."""
        return self.result is not None

    @property
    def initiator(self) -> str:
        """The peer's normalised name as far as it is known, for the log; not yet proved before `finished`."""
        return self._initiator

    async def receive(self, raw_header: bytes, data: bytes) -> list[bytes]:
        """Takes one PDU: the basic header and the data segment without padding. Gives complete PDUs to send.

        The next PDU may be given when this one is answered.

        A server that won't read an announced segment (limits.LOGIN_DATA_SEGMENT_BYTES_MAX) gives data shorter
        than the header says; the login is then refused.
        """
        if self.closed or self.finished:
            return []
        if len(raw_header) != header.BHS_BYTES or header.opcode_of(raw_header) != Opcode.LOGIN_REQUEST:
            return self._stray(raw_header)
        request = header.LoginRequest.read(raw_header)
        try:
            self._check_request(request, raw_header, data)
            whole = self._collector.add(data, goes_on=request.goes_on)
            if whole is None:
                return [self._response(request)]
            if self._unsent:
                return [self._next_piece(request, whole)]
            return [await self._answer(request, text.parse(whole, LONG_VALUES))]
        except LoginRedirectError as redirect:
            return [self._refuse(request, redirect, [("TargetAddress", redirect.address)])]
        except ProtocolError as refusal:
            return [self._refuse(request, refusal)]
        except Exception as failure:
            # Plugins and the server's own look-ups may fail; the peer learns no more than that (0300).
            reason = str(failure) if isinstance(failure, GoldherdError) else f"{type(failure).__name__}: {failure}"
            return [self._refuse(request, ProtocolError(reason, login_status=Status.TARGET_ERROR))]

    # --- the form of a request ---

    def _stray(self, raw_header: bytes) -> list[bytes]:
        """Something that is no Login Request; not answered at all before the first one (RFC 7143 6.3)."""
        first = self._first
        opcode = f"opcode 0x{header.opcode_of(raw_header):02x}" if raw_header else "an empty header"
        message = f"The initiator sent {opcode} during login."
        if first is None or len(raw_header) != header.BHS_BYTES:
            self.closed, self.refusal = True, message
            return []
        return [self._refuse(first, ProtocolError(message, login_status=Status.INVALID_DURING_LOGIN))]

    def _check_request(self, request: header.LoginRequest, raw_header: bytes, data: bytes) -> None:
        """Everything about a request that needs no text."""
        first = self._first
        if first is None:
            self._first = first = request
            self._stage = request.csg
        ahs_bytes, data_bytes = header.segment_bytes(raw_header)
        if ahs_bytes:
            raise ProtocolError("A Login Request has additional headers.")
        if data_bytes > limits.LOGIN_DATA_SEGMENT_BYTES_MAX or data_bytes != len(data):
            raise ProtocolError(
                f"A Login Request announces {data_bytes} bytes of text and came with {len(data)}; "
                f"{limits.LOGIN_DATA_SEGMENT_BYTES_MAX} are the limit."
            )
        if request.version_min > 0:
            raise ProtocolError(
                f"The initiator speaks version {request.version_min} and up; only 0 exists.",
                login_status=Status.UNSUPPORTED_VERSION,
            )
        self._check_same(request, first)
        self._check_stage(request)
        self._rounds += 1
        if self._rounds > self._policy.rounds_max:
            raise ProtocolError(f"The login took more than {self._policy.rounds_max} requests.")
        self._text_bytes += len(data)
        if self._text_bytes > self._policy.text_bytes_max:
            raise ProtocolError(f"The login's text is longer than {self._policy.text_bytes_max} bytes.")

    @staticmethod
    def _check_same(request: header.LoginRequest, first: header.LoginRequest) -> None:
        """All requests of one login share these (RFC 7143 11.12)."""
        for name in ("itt", "isid", "tsih", "cid", "cmd_sn"):
            if getattr(request, name) != getattr(first, name):
                raise ProtocolError(f"The {name} of a Login Request changed within one login.")

    def _check_stage(self, request: header.LoginRequest) -> None:
        """CSG, NSG, T and C of a request against the table of moves."""
        if request.csg not in MOVES:
            raise ProtocolError(f"A Login Request belongs to stage {request.csg}, which is no login stage.")
        if request.csg != self._stage:
            raise ProtocolError(f"A Login Request belongs to stage {request.csg}; the login is in {self._stage}.")
        if not request.transit:
            return
        if request.goes_on:
            raise ProtocolError("A Login Request has both T and C.")
        if request.nsg not in MOVES[request.csg]:
            raise ProtocolError(f"A Login Request asks to go from stage {request.csg} to {request.nsg}.")

    # --- the meaning of a request ---

    async def _answer(self, request: header.LoginRequest, pairs: dict[str, str]) -> bytes:
        """A request whose text is complete."""
        self._check_repeated(pairs)
        answers: list[text.Pair] = []
        identified = bool(self._initiator)
        if not identified:
            answers += await self._identify(request, pairs)
        remaining = {name: value for name, value in pairs.items() if name not in IDENTITY}
        if identified and len(remaining) != len(pairs):
            raise ProtocolError("The initiator sent a name or session type after its first request.")
        if request.csg == Stage.SECURITY:
            remaining = await self._prove(request, remaining, answers)
        else:
            self._check_proved()
            self._find_session(request)
        answers += self._negotiation.answers(remaining, _PHASES[request.csg])
        if request.csg == Stage.OPERATIONAL and not self._segment_declared:
            self._segment_declared = True
            answers.append(("MaxRecvDataSegmentLength", str(self._policy.max_recv_data_segment)))
        return self._respond(request, text.join(answers))

    def _check_repeated(self, pairs: Mapping[str, str]) -> None:
        """No key may be negotiated twice in one login (RFC 7143 6.3)."""
        if not self._seen.isdisjoint(pairs):
            repeated = next(name for name in pairs if name in self._seen)
            raise ProtocolError(f"The key {shown(repeated)} was sent twice in one login.")
        self._seen.update(pairs)

    async def _identify(self, request: header.LoginRequest, pairs: Mapping[str, str]) -> list[text.Pair]:
        """The first request names initiator, target and session type (RFC 7143 6.3, about the leading request)."""
        if "InitiatorName" not in pairs:
            raise _missing("InitiatorName")
        self._initiator = normalise(pairs["InitiatorName"])
        session_type = pairs.get("SessionType", "Normal")
        if session_type not in ("Normal", "Discovery"):
            raise ProtocolError(
                f"The session type {shown(session_type)} is neither Normal nor Discovery.",
                login_status=Status.SESSION_TYPE_NOT_SUPPORTED,
            )
        discovery = session_type == "Discovery"
        if discovery and not self._policy.discovery:
            raise ProtocolError("Discovery sessions are switched off.", login_status=Status.SESSION_TYPE_NOT_SUPPORTED)
        self._negotiation = Negotiation(
            discovery=discovery,
            leading=request.tsih == 0,
            ours={"MaxConnections": self._policy.connections_max, **self._policy.ours},
        )
        if discovery:
            self._exchange = await self._host.start_login(self._initiator, None)
            return []
        if "TargetName" not in pairs:
            raise _missing("TargetName")
        self._target = await self._admitted(normalise(pairs["TargetName"]))
        await self._host.check_redirect(self._initiator, self._target.name, str(self._portal))
        self._exchange = await self._host.start_login(self._initiator, self._target)
        answers = [("TargetPortalGroupTag", str(self._portal.tag))]
        if self._target.alias:
            answers.append(("TargetAlias", self._target.alias))
        return answers

    async def _admitted(self, name: str) -> TargetConfig:
        """The target of that name, if the initiator may use it."""
        target = await self._host.find_target(name)
        if target is None:
            raise ProtocolError(f"There is no target {name}.", login_status=Status.NOT_FOUND)
        peer = await self._host.peer(self._initiator, self._address, target)
        if not target.admits(peer):
            raise ProtocolError(
                f"{name} does not admit it: {target.difference(peer)}.",
                login_status=Status.NOT_FOUND if self._policy.hide_targets else Status.FORBIDDEN,
            )
        return target

    # --- proof of identity ---

    @property
    def _proved(self) -> bool:
        """Whether the initiator owes no proof (any more)."""
        return self._exchange is None or self._exchange.finished

    def _check_proved(self) -> None:
        """A login that opens in the operational stage, or goes there, must not skip authentication."""
        if not self._proved:
            raise ProtocolError(
                f"The initiator {self._initiator} skipped the authentication that is asked of it.",
                login_status=Status.AUTHENTICATION_FAILURE,
            )

    async def _prove(
        self, request: header.LoginRequest, pairs: dict[str, str], answers: list[text.Pair]
    ) -> dict[str, str]:
        """The security stage: agrees on a method and runs its exchange. Gives the keys that remain."""
        remaining = dict(pairs)
        offer = remaining.pop("AuthMethod", None)
        if offer is not None:
            self._method = self._chosen_method(offer)
            answers.append(("AuthMethod", self._method))
        exchange = self._exchange
        if exchange is None or exchange.finished:
            return remaining
        if self._method is None:
            if request.transit:
                self._check_proved()
            return remaining
        steps = {name: value for name, value in remaining.items() if name.startswith(exchange.prefix)}
        if steps:
            answers += (await exchange.step(steps)).items()
        return {name: value for name, value in remaining.items() if name not in steps}

    def _chosen_method(self, offer: str) -> str:
        """The one method that counts here, if the initiator offers it (RFC 7143 12.1)."""
        wanted = "None" if self._exchange is None else self._exchange.method
        if wanted not in offer.split(","):
            raise ProtocolError(
                f"The initiator {self._initiator} offers the authentication {shown(offer)}; {wanted} is asked of it.",
                login_status=Status.AUTHENTICATION_FAILURE,
            )
        return wanted

    # --- the session ---

    def _find_session(self, request: header.LoginRequest) -> tuple[SessionAction, int | None]:
        """What this login does to the sessions that exist, and the TSIH of the one it met.

        Asked only once the initiator has proved itself: early, so that a login that can't succeed ends soon,
        and again at the end, because another login of the same initiator may have been quicker.
        """
        target = self._target.name if self._target else None
        group = self._portal.tag
        known = self._host.find_session(self._initiator, request.isid, target, group)
        in_use = self._host.connections(known) if known is not None else ()
        handle = Handle.ZERO if not request.tsih else Handle.THAT if request.tsih == known else Handle.OTHER
        action = SESSION_ACTIONS[known is not None, handle, request.cid in in_use]
        if action is SessionAction.ABSENT:
            if request.tsih == self._host.find_session(self._initiator, request.isid, target, None):
                raise ProtocolError(
                    f"The session {request.tsih} is of another portal group than {group}.",
                    login_status=Status.CANNOT_INCLUDE,
                )
            raise ProtocolError(
                f"{self._initiator} has no session with TSIH {request.tsih} and ISID {request.isid.hex()}.",
                login_status=Status.SESSION_DOES_NOT_EXIST,
            )
        if handle is Handle.THAT:
            self.joins = known
        if action is SessionAction.ADD_CONNECTION:
            most = self._host.max_connections(request.tsih)
            if len(in_use) >= most:
                raise ProtocolError(
                    f"The session {request.tsih} has {len(in_use)} connections; {most} are its limit.",
                    login_status=Status.TOO_MANY_CONNECTIONS,
                )
        return action, known

    # --- responses ---

    def _respond(self, request: header.LoginRequest, answer: bytes) -> bytes:
        """The response to a complete text; moves to the next stage if both sides are ready."""
        # The initiator's limit holds for our text too; hardly any answer is longer.
        self._unsent = text.pieces(answer, _SEGMENT_DEFAULT)
        if len(self._unsent) > 1:
            return self._next_piece(request, b"")
        self._unsent = []
        if not request.transit or not self._proved:
            return self._response(request, answer)
        if request.nsg == Stage.FULL_FEATURE:
            return self._finish(request, answer)
        self._stage = request.nsg
        return self._response(request, answer, moves=True)

    def _next_piece(self, request: header.LoginRequest, whole: bytes) -> bytes:
        """The next data segment of an answer that did not fit into one (RFC 7143 6.2, C bit)."""
        if whole:
            raise ProtocolError("The initiator sent text while our answer was not complete.")
        piece = self._unsent.pop(0)
        if self._unsent:
            return self._response(request, piece, goes_on=True)
        return self._respond(request, piece)

    def _finish(self, request: header.LoginRequest, answer: bytes) -> bytes:
        """The last response: full feature phase begins after it."""
        action, known = self._find_session(request)
        tsih = request.tsih if action in JOINS else self._host.allocate_tsih()
        response = self._response(request, answer, moves=True, tsih=tsih)
        alias = self._negotiation.value("InitiatorAlias")
        self.result = LoginResult(
            initiator=self._initiator,
            initiator_alias=str(alias or ""),
            config=self._target,
            isid=request.isid,
            tsih=tsih,
            cid=request.cid,
            action=action,
            replaces=known if action is SessionAction.REINSTATE_SESSION else None,
            cmd_sn=request.cmd_sn,
            max_cmd_sn=self._max_cmd_sn(request),
            stat_sn=self._stat_sn,
            parameters=self._negotiation.parameters(
                self._policy.max_recv_data_segment if self._segment_declared else _SEGMENT_DEFAULT
            ),
            authenticated=self._exchange is not None and self._exchange.method != "None",
            address=self._address,
            portal=str(self._portal),
            portal_group=self._portal.tag,
        )
        return response

    def _response(
        self,
        request: header.LoginRequest,
        answer: bytes = b"",
        *,
        moves: bool = False,
        goes_on: bool = False,
        tsih: int | None = None,
        status: LoginStatus = Status.SUCCESS,
    ) -> bytes:
        """One Login Response; numbering included."""
        flags = (request.csg & 3) << 2
        if moves:
            flags |= Flag.TRANSIT | request.nsg
        if goes_on:
            flags |= Flag.CONTINUE
        stat_sn = self._stat_sn
        self._stat_sn = (stat_sn + 1) & _MASK
        response = header.LoginResponse(
            flags=flags,
            isid=request.isid,
            tsih=request.tsih if tsih is None else tsih,
            itt=request.itt,
            stat_sn=stat_sn,
            exp_cmd_sn=request.cmd_sn,
            max_cmd_sn=self._max_cmd_sn(request),
            status_class=status.status_class,
            status_detail=status.detail,
        )
        return header.pdu(response, answer)

    def _max_cmd_sn(self, request: header.LoginRequest) -> int:
        """Of a session that exists, only its reactor knows the numbers. A MaxCmdSN below ExpCmdSN - 1 is ignored with
        ExpCmdSN itself (RFC 7143 4.2.2.1), until the server fills in the true ones."""
        window = self._policy.command_window if request.tsih == 0 else -1
        return (request.cmd_sn + window - 1) & _MASK

    def _refuse(
        self, request: header.LoginRequest, refusal: ProtocolError, pairs: list[text.Pair] | None = None
    ) -> bytes:
        """The last response of a login that failed; the status is all the peer learns (RFC 7143 11.13.5)."""
        self.closed, self.refusal = True, str(refusal)
        return self._response(request, text.join(pairs or ()), status=refusal.login_status)


def _missing(name: str) -> ProtocolError:
    return ProtocolError(f"The first Login Request carries no {name}.", login_status=Status.MISSING_PARAMETER)
