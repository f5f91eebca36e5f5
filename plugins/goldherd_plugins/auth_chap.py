"""CHAP, one way and mutual (RFC 1994, RFC 7143 12.1.3), with MD5, SHA-1, SHA-256 and SHA3-256.

One exchange is one try on one connection:

    initiator                                   target
    CHAP_A=5,7                  ->
                                <-              CHAP_A=5  CHAP_I=17  CHAP_C=0x...
    CHAP_N=user  CHAP_R=0x...   ->              (the initiator has proved itself)
    [CHAP_I=4  CHAP_C=0x...]    <-              [CHAP_N=ours  CHAP_R=0x...]

The response is H(identifier || secret || challenge). What the initiator asks of us in turn is only answered
after its own response was right, and never when its challenge is the one we gave: it could hand our answer
back as its own.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from goldherd.errors import AUTHENTICATION_FAILURE, ProtocolError, SettingsError, shown
from goldherd.hookspecs import AuthExchange, Credentials, hookimpl
from goldherd.limits import (
    CHAP_BINARY_BYTES_MAX,
    CHAP_SECRET_BYTES_MAX,
    CHAP_SECRET_BYTES_MIN,
    TEXT_VALUE_BYTES_MAX,
)
from goldherd.wire import text

SECRET_BYTES_WINDOWS_MAX: Final = 16
"""The longest secret that the initiator of Windows takes."""


class Digest(NamedTuple):
    """One CHAP algorithm: its hash, and how many bytes of challenge we give."""

    function: Callable[[bytes], bytes]
    challenge_bytes: int


ALGORITHMS: Final[dict[int, Digest]] = {
    # The numbers are those of the IANA registry of PPP authentication algorithms.
    5: Digest(lambda data: hashlib.md5(data, usedforsecurity=False).digest(), 16),
    6: Digest(lambda data: hashlib.sha1(data, usedforsecurity=False).digest(), 20),
    7: Digest(lambda data: hashlib.sha256(data).digest(), 32),
    8: Digest(lambda data: hashlib.sha3_256(data).digest(), 32),
}


def response(algorithm: int, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """The CHAP response of RFC 1994 4.1."""
    return ALGORITHMS[algorithm].function(bytes([identifier]) + secret + challenge)


class ChapExchange:
    """The target's side of one CHAP exchange.

    Args:
        credentials: whom to expect, and who we are.
        accepted: the algorithms we take; the initiator's order decides.
    """

    method = "CHAP"
    prefix = "CHAP_"

    def __init__(self, credentials: Credentials, accepted: Sequence[int] = tuple(ALGORITHMS)) -> None:
        self._credentials = credentials
        self._accepted = frozenset(accepted)
        self._step: Callable[[dict[str, str]], dict[str, str]] = self._choose
        self._algorithm = 0
        self._identifier = 0
        self._challenge = b""
        self.finished = False

    def step(self, keys: dict[str, str]) -> dict[str, str]:
        """CHAP keys of one request in, ours out; ProtocolError 0x0201 or, for bad form, 0x0200."""
        return self._step(keys)

    def _choose(self, keys: dict[str, str]) -> dict[str, str]:
        """CHAP_A: the first algorithm of the initiator's list that we take."""
        _require(keys, {"CHAP_A"})
        offered = [text.number(item) for item in keys["CHAP_A"].split(",")]
        common = [algorithm for algorithm in offered if algorithm in self._accepted]
        if not common:
            raise _failed(f"The initiator offers the CHAP algorithms {offered}, none of which is accepted here.")
        self._algorithm = common[0]
        # From the system's random source, new for each login, used once (RFC 7143 12.1.3).
        self._identifier = secrets.randbelow(256)
        self._challenge = secrets.token_bytes(ALGORITHMS[self._algorithm].challenge_bytes)
        self._step = self._verify
        return {
            "CHAP_A": str(self._algorithm),
            "CHAP_I": str(self._identifier),
            "CHAP_C": text.hexadecimal(self._challenge),
        }

    def _verify(self, keys: dict[str, str]) -> dict[str, str]:
        """CHAP_N and CHAP_R, perhaps with CHAP_I and CHAP_C: who the initiator is, and who we are."""
        # One try: whatever comes of this, the challenge is used up.
        self._step = self._over
        mutual = "CHAP_I" in keys or "CHAP_C" in keys
        _require(keys, {"CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"} if mutual else {"CHAP_N", "CHAP_R"})
        given = text.binary(keys["CHAP_R"], CHAP_BINARY_BYTES_MAX)
        expected = response(self._algorithm, self._identifier, self._credentials.secret, self._challenge)
        # Both comparisons are always made and take the same time wherever the difference lies.
        same_user = hmac.compare_digest(keys["CHAP_N"].encode(), self._credentials.user.encode())
        same_response = hmac.compare_digest(given, expected)
        if not same_user:
            raise _failed(f"The initiator gives the CHAP name {shown(keys['CHAP_N'])}, which is not the right one.")
        if not same_response:
            raise _failed("The initiator's CHAP response does not match the secret.")
        answer = self._prove(keys) if mutual else {}
        self.finished = True
        return answer

    def _prove(self, keys: dict[str, str]) -> dict[str, str]:
        """Our own proof, when the initiator asks for it."""
        identifier = text.number(keys["CHAP_I"], 0, 255)
        challenge = text.binary(keys["CHAP_C"], CHAP_BINARY_BYTES_MAX)
        if challenge == self._challenge:
            raise _failed("The initiator's CHAP challenge is our own (a reflection).")
        user, secret = self._credentials.mutual_user, self._credentials.mutual_secret
        if not user or not secret:
            raise _failed("The initiator asks the target to prove itself, and no mutual CHAP secret is configured.")
        if hmac.compare_digest(secret, self._credentials.secret):
            raise _failed("The CHAP secrets of both directions are the same; set two different ones.")
        return {
            "CHAP_N": user,
            "CHAP_R": text.hexadecimal(response(self._algorithm, identifier, secret, challenge)),
        }

    def _over(self, keys: dict[str, str]) -> dict[str, str]:
        raise _failed(f"The initiator sent {', '.join(sorted(keys))} after the CHAP exchange was over.")


def check_credentials(credentials: Credentials) -> list[str]:
    """Checks CHAP names and secrets when they are configured.

    Returns: warnings, each one sentence; none of them shows a secret.
    Raises: SettingsError for what can't work or is not safe: empty or overlong names and secrets, only half
        of the mutual pair, or the same secret for both directions.
    """
    pairs = [("CHAP", credentials.user, credentials.secret)]
    if (credentials.mutual_user is None) != (credentials.mutual_secret is None):
        raise SettingsError("Mutual CHAP needs both a name and a secret; give the other one too.")
    if credentials.mutual_user is not None and credentials.mutual_secret is not None:
        pairs.append(("mutual CHAP", credentials.mutual_user, credentials.mutual_secret))
    warnings = []
    for kind, user, secret in pairs:
        _check_user(kind, user)
        if not 1 <= len(secret) <= CHAP_SECRET_BYTES_MAX:
            raise SettingsError(
                f"The {kind} secret has {len(secret)} bytes; give it 12 to 16, which every initiator can use."
            )
        if len(secret) < CHAP_SECRET_BYTES_MIN:
            warnings.append(
                f"The {kind} secret of {user} has {len(secret)} bytes: under 12 (96 bits) it can be guessed "
                "from a recorded login, and Windows refuses it."
            )
        if len(secret) > SECRET_BYTES_WINDOWS_MAX:
            warnings.append(f"The {kind} secret of {user} has {len(secret)} bytes; Windows takes 16 at most.")
    if len(pairs) == 2 and hmac.compare_digest(pairs[0][2], pairs[1][2]):
        raise SettingsError("The CHAP secrets of both directions are the same; set two different ones.")
    return warnings


def _check_user(kind: str, user: str) -> None:
    if not 1 <= len(user.encode()) <= TEXT_VALUE_BYTES_MAX or not user.isprintable():
        raise SettingsError(f"The {kind} name must have 1 to {TEXT_VALUE_BYTES_MAX} printable bytes; choose another.")


def _require(keys: dict[str, str], expected: set[str]) -> None:
    """Exactly these keys; several steps in one request are not allowed (RFC 7143 12.1.3)."""
    if set(keys) != expected:
        raise _failed(
            f"The initiator sent {', '.join(sorted(keys))} in a CHAP exchange, "
            f"where {', '.join(sorted(expected))} belong."
        )


def _failed(message: str) -> ProtocolError:
    return ProtocolError(message, login_status=AUTHENTICATION_FAILURE)


@hookimpl
def start_login(credentials: Credentials | None) -> AuthExchange | None:
    """Runs CHAP when the target's configuration holds credentials."""
    return None if credentials is None else ChapExchange(credentials)
