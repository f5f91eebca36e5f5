"""Every text key with its rule, default, range and phase (RFC 7143 section 13), and their negotiation.

Start reading at `KEYS`. `Negotiation` takes an initiator's keys one by one and says what to answer; what came
of it is a `Parameters`. A key that is not offered keeps its default, and a value that can't be taken is
answered Reject and leaves the earlier value as it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, Flag, auto
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from goldherd import limits
from goldherd.errors import ProtocolError
from goldherd.model.parameters import Parameters
from goldherd.wire import text

Value = bool | int | str
"""What a key comes to: Yes or No, a number, or a word."""


class Phase(Flag):
    """Where a key may be sent."""

    SECURITY = auto()
    OPERATIONAL = auto()
    FULL_FEATURE = auto()
    LOGIN = SECURITY | OPERATIONAL
    ANY = SECURITY | OPERATIONAL | FULL_FEATURE


class Rule(Enum):
    """How the offer and our own value make the result."""

    FIRST = "the first of the offered list that we know"
    MINIMUM = "the smaller number"
    MAXIMUM = "the larger number"
    OR = "Yes if either says Yes"
    AND = "Yes if both say Yes"
    DECLARED = "each side tells its own; no answer"
    REFUSED = "obsolete; always answered Reject"


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table.

    `ours` is what we bring to the negotiation: a number, a boolean, or the tuple of values we know. `low` and
    `high` bound a number; outside, the answer is Reject. `normal_only`: says nothing in a discovery session
    (Irrelevant). `leading_only`: only the first connection of a session negotiates it. `identity`: only the
    first request of a login may carry it, because it names the initiator or what it wants.
    """

    name: str
    rule: Rule
    phase: Phase
    default: Value | None = None
    ours: Value | tuple[str, ...] | None = None
    low: int = 0
    high: int = 0
    normal_only: bool = False
    leading_only: bool = False
    identity: bool = False
    bytes_max: int = limits.TEXT_VALUE_BYTES_MAX


_LOGIN, _OPERATIONAL, _ANY = Phase.LOGIN, Phase.OPERATIONAL, Phase.ANY
_SEGMENT: Final = (1 << 24) - 1
_CHAP_BYTES: Final = 2 + 2 * limits.CHAP_BINARY_BYTES_MAX


def _number(name: str, rule: Rule, default: int, ours: int, low: int, high: int, *, normal_only: bool = False) -> Key:
    return Key(name, rule, _OPERATIONAL, default, ours, low, high, normal_only=normal_only, leading_only=True)


def _boolean(name: str, rule: Rule, default: bool, ours: bool) -> Key:
    return Key(name, rule, _OPERATIONAL, default, ours, normal_only=True, leading_only=True)


_ROWS: Final = (
    # names
    Key("InitiatorName", Rule.DECLARED, _LOGIN, identity=True),
    Key("InitiatorAlias", Rule.DECLARED, _ANY),
    Key("TargetName", Rule.DECLARED, _LOGIN, identity=True),
    Key("SessionType", Rule.DECLARED, _LOGIN, "Normal", identity=True),
    Key("SendTargets", Rule.DECLARED, Phase.FULL_FEATURE),
    # security
    Key("AuthMethod", Rule.DECLARED, Phase.SECURITY),
    # operational, any session
    Key("HeaderDigest", Rule.FIRST, _OPERATIONAL, "None", ("CRC32C", "None")),
    Key("DataDigest", Rule.FIRST, _OPERATIONAL, "None", ("CRC32C", "None")),
    Key("MaxRecvDataSegmentLength", Rule.DECLARED, _ANY, 8192, low=512, high=_SEGMENT),
    _number("DefaultTime2Wait", Rule.MAXIMUM, 2, 0, 0, 3600),
    # At ERL 0 nothing is retained: a session ends with its connection.
    _number("DefaultTime2Retain", Rule.MINIMUM, 20, 0, 0, 3600),
    _number("ErrorRecoveryLevel", Rule.MINIMUM, 0, 0, 0, 2),
    _number("iSCSIProtocolLevel", Rule.MINIMUM, 1, 1, 0, 31),
    Key("TaskReporting", Rule.FIRST, _OPERATIONAL, "RFC3720", ("RFC3720",), normal_only=True),
    # operational, normal sessions
    _number("MaxConnections", Rule.MINIMUM, 1, 1, 1, 65535, normal_only=True),
    _boolean("InitialR2T", Rule.OR, True, False),
    _boolean("ImmediateData", Rule.AND, True, True),
    _number("MaxBurstLength", Rule.MINIMUM, 262144, limits.WRITE_CHUNK_BYTES_MAX, 512, _SEGMENT, normal_only=True),
    _number("FirstBurstLength", Rule.MINIMUM, 65536, limits.FIRST_BURST_BYTES_MAX, 512, _SEGMENT, normal_only=True),
    _number("MaxOutstandingR2T", Rule.MINIMUM, 1, limits.OUTSTANDING_R2T_MAX, 1, 65535, normal_only=True),
    _boolean("DataPDUInOrder", Rule.OR, True, True),
    _boolean("DataSequenceInOrder", Rule.OR, True, True),
    # Obsolete (RFC 7143 13.25): No or Reject, never NotUnderstood.
    Key("IFMarker", Rule.AND, _OPERATIONAL, False, False),
    Key("OFMarker", Rule.AND, _OPERATIONAL, False, False),
    Key("IFMarkInt", Rule.REFUSED, _OPERATIONAL),
    Key("OFMarkInt", Rule.REFUSED, _OPERATIONAL),
)

KEYS: Final[Mapping[str, Key]] = MappingProxyType({key.name: key for key in _ROWS})

IDENTITY: Final = frozenset(key.name for key in _ROWS if key.identity)
"""The keys that only the first request of a login may carry."""

_KEYS_OF: Final = {phase: frozenset(key.name for key in _ROWS if key.phase & phase) for phase in Phase}

TARGET_ONLY: Final = frozenset({"TargetAlias", "TargetAddress", "TargetPortalGroupTag"})
"""Keys that only a target declares; an initiator that sends one breaks the protocol (RFC 7143 13.3, 13.8,
13.9)."""

LONG_VALUES: Final[Mapping[str, int]] = MappingProxyType({"CHAP_C": _CHAP_BYTES, "CHAP_R": _CHAP_BYTES})
"""Keys whose values may be longer than 255 bytes, for `text.parse`; iSCSI names have a limit of their own."""


FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MaxRecvDataSegmentLength": "max_send_data_segment",
        "MaxBurstLength": "max_burst",
        "FirstBurstLength": "first_burst",
        "InitialR2T": "initial_r2t",
        "ImmediateData": "immediate_data",
        "MaxOutstandingR2T": "max_outstanding_r2t",
        "DataPDUInOrder": "data_pdu_in_order",
        "DataSequenceInOrder": "data_sequence_in_order",
        "DefaultTime2Wait": "time2wait",
        "DefaultTime2Retain": "time2retain",
        "MaxConnections": "max_connections",
        "ErrorRecoveryLevel": "error_recovery_level",
        "iSCSIProtocolLevel": "protocol_level",
    }
)
"""Which key becomes which field of Parameters, as it is."""


class Values:
    """What the keys stand at after some requests; never changed, so logins share it. Two are equal only if one is the
    other: that makes it a cheap part of what an outcome depends on."""

    __slots__ = ("of",)

    def __init__(self, of: Mapping[str, Value]) -> None:
        self.of: Final = of
        """By key; without those that have no default and never came."""


_DEFAULTS: Final = Values({key.name: key.default for key in _ROWS if key.default is not None})


class Negotiation:
    """The keys of one login.

    Initiators of one kind send the same keys at each login. Answers depend on nothing but the keys, the session and
    what was agreed before, so that they are worked out once (`_outcome`).

    Args:
        discovery: whether the session is a discovery session.
        leading: whether this is the first connection of its session.
        ours: replaces `Key.ours` of single keys.
    """

    def __init__(
        self, *, discovery: bool = False, leading: bool = True, ours: Mapping[str, Value] | None = None
    ) -> None:
        self._terms = discovery, leading, frozenset((ours or {}).items())
        self._values = _DEFAULTS

    def value(self, name: str) -> Value | None:
        """What a key stands at now; None when it has no default and never came."""
        return self._values.of.get(name)

    def answers(self, pairs: Mapping[str, str], phase: Phase) -> list[text.Pair]:
        """Takes the keys of one request, gives the answers in the order of the keys.

        Raises: ProtocolError 0x0200 for a key that doesn't belong to this phase or to this side.
        """
        if not pairs:
            return []
        work = _outcome if len(pairs) <= limits.NEGOTIATION_KEYS_KEPT_MAX else _outcome.__wrapped__
        answers, self._values = work(tuple(pairs.items()), phase, self._terms, self._values)
        return list(answers)

    def parameters(self, max_recv_data_segment: int) -> Parameters:
        """What was agreed on; the argument is what we declared ourselves, or the default of 8192."""
        return _parameters(self._values, max_recv_data_segment)


Ours = Value | tuple[str, ...] | None
Result = tuple[Value, str | None]
Terms = tuple[bool, bool, frozenset[tuple[str, Value]]]
"""Of `Negotiation`: discovery, leading, ours."""


@lru_cache(limits.NEGOTIATIONS_KEPT_MAX)
def _outcome(
    pairs: tuple[text.Pair, ...], phase: Phase, terms: Terms, before: Values
) -> tuple[tuple[text.Pair, ...], Values]:
    """The answers to the keys of one request, and what the keys stand at then."""
    here = _KEYS_OF[phase]
    for name, _ in pairs:
        if name in TARGET_ONLY:
            raise ProtocolError(f"The initiator sent {name}, which only a target declares.")
        if name not in here and name in KEYS:
            raise ProtocolError(f"The key {name} does not belong to the {phase.name} phase.")
    discovery, leading, changed = terms
    ours = dict(changed)
    values = dict(before.of)
    answers: dict[str, str | None] = {}
    # FirstBurstLength is bounded by MaxBurstLength, wherever the two stand in the text.
    for name, value in sorted(pairs, key=lambda pair: pair[0] == "FirstBurstLength"):
        key = KEYS.get(name)
        if key is None:
            answers[name] = text.NOT_UNDERSTOOD
        elif key.normal_only and discovery:
            answers[name] = text.IRRELEVANT
        elif key.leading_only and not leading:
            answers[name] = text.REJECT
        else:
            answers[name] = _answer(key, ours.get(name, key.ours), value, values)
    given = tuple((name, answer) for name, _ in pairs if (answer := answers[name]) is not None)
    return given, Values(values)


def _answer(key: Key, ours: "Ours", value: str, values: dict[str, Value]) -> str | None:
    """The answer to one key, None when it needs none; what the key comes to is noted in `values`."""
    try:
        result, answer = _RESULTS[key.rule](key, ours, value)
    except ProtocolError:
        # RFC 7143 6.2: a value that can't be taken is answered so and changes nothing.
        return text.REJECT
    if key.name == "FirstBurstLength":
        result = min(int(result), int(values["MaxBurstLength"]))
        answer = str(result)
    values[key.name] = result
    return answer


@lru_cache(limits.NEGOTIATIONS_KEPT_MAX)
def _parameters(values: Values, max_recv_data_segment: int) -> Parameters:
    """What values mean for the data plane."""
    agreed = {field_name: values.of[name] for name, field_name in FIELDS.items()}
    # Without an offer of FirstBurstLength its default may exceed a small MaxBurstLength.
    agreed["first_burst"] = min(int(agreed["first_burst"]), int(agreed["max_burst"]))
    return Parameters(
        header_digest=values.of["HeaderDigest"] == "CRC32C",
        data_digest=values.of["DataDigest"] == "CRC32C",
        max_recv_data_segment=max_recv_data_segment,
        **agreed,  # type: ignore[arg-type]  # the rules of the table give each key its own type
    )


def _first(_key: Key, ours: Ours, offer: str) -> Result:
    """List negotiation: the first offered value that we know, in the offerer's order (RFC 7143 6.2.1)."""
    assert isinstance(ours, tuple)
    for value in offer.split(","):
        if value in ours:
            return value, value
    raise ProtocolError("Nothing that was offered is known here.")


def _of_numbers(choose: Callable[[int, int], int]) -> Callable[[Key, Ours, str], Result]:
    def result(key: Key, ours: Ours, offer: str) -> Result:
        assert isinstance(ours, int)
        chosen = choose(text.number(offer, key.low, key.high), ours)
        return chosen, str(chosen)

    return result


def _of_booleans(choose: Callable[[bool, bool], bool]) -> Callable[[Key, Ours, str], Result]:
    def result(_key: Key, ours: Ours, offer: str) -> Result:
        assert isinstance(ours, bool)
        chosen = choose(text.boolean(offer), ours)
        return chosen, "Yes" if chosen else "No"

    return result


def _declared(key: Key, _ours: Ours, value: str) -> Result:
    if key.high:
        return text.number(value, key.low, key.high), None
    return value, None


def _refused(_key: Key, _ours: Ours, _value: str) -> Result:
    raise ProtocolError("Obsolete.")


_RESULTS: Final[Mapping[Rule, Callable[[Key, Ours, str], Result]]] = {
    Rule.FIRST: _first,
    Rule.MINIMUM: _of_numbers(min),
    Rule.MAXIMUM: _of_numbers(max),
    Rule.OR: _of_booleans(lambda offer, ours: offer or ours),
    Rule.AND: _of_booleans(lambda offer, ours: offer and ours),
    Rule.DECLARED: _declared,
    Rule.REFUSED: _refused,
}
