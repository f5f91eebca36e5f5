"""How a session comes to be: stages, session identity and status codes of a login, as tables.

Theory of operation (RFC 7143 sections 6 and 7)
-----------------------------------------------
A TCP connection starts in *login* and may carry nothing but Login PDUs until it reaches *full feature phase*;
a login that fails ends the connection. Each Login Request says in which stage it was sent (CSG). The first
one chooses where to start, after that the stage is what both agreed on:

    security (0)  ----T----->  operational (1)  ----T----->  full feature (3)
        |                                                        ^
        +------------------------------T-------------------------+

The initiator proposes a move with T=1 and the stage it wants (NSG); the move happens when our response has
T=1 too. We answer T=0 while something is missing, which in practice is the proof of identity. `MOVES` holds
the legal moves.

Before operational negotiation counts, the initiator must have proved its identity, if its target asks for that:
a login that starts in the operational stage has skipped the proof and fails.

Then the login finds its session. `SESSION_ACTIONS` tells from TSIH and CID whether it makes a new session,
replaces one (the everyday recovery of a machine that was switched off), joins one, or replaces one connection
of it. Nothing happens to an existing session before the new login has succeeded.

A login that fails says why with a status class and detail, gathered in `Status`. The initiator treats class 3
as worth another try and class 2 as final, so passing conditions belong to class 3.
"""

from enum import Enum
from typing import Final

from goldherd import errors
from goldherd.errors import LoginStatus
from goldherd.wire.opcodes import Stage

MOVES: Final[dict[int, frozenset[int]]] = {
    Stage.SECURITY: frozenset({int(Stage.OPERATIONAL), int(Stage.FULL_FEATURE)}),
    Stage.OPERATIONAL: frozenset({int(Stage.FULL_FEATURE)}),
}
"""From the stage of a request (CSG) to the stages that it may ask for (NSG), RFC 7143 11.12.3."""


class SessionAction(Enum):
    """What a login does to the sessions that exist (RFC 7143 6.3.1)."""

    NEW = "new session"
    REINSTATE_SESSION = "session reinstatement"
    ADD_CONNECTION = "new connection of a session"
    REINSTATE_CONNECTION = "connection reinstatement"
    ABSENT = "session does not exist"


JOINS: Final = frozenset({SessionAction.ADD_CONNECTION, SessionAction.REINSTATE_CONNECTION})
"""The login leads into a session that exists, and that goes on."""


class Handle(Enum):
    """How the TSIH of a request relates to the session of the same initiator, ISID and target."""

    ZERO = "zero"
    THAT = "that session's"
    OTHER = "another number"


SESSION_ACTIONS: Final[dict[tuple[bool, Handle, bool], SessionAction]] = {
    # (session known, TSIH, CID in use)
    (False, Handle.ZERO, False): SessionAction.NEW,
    (True, Handle.ZERO, False): SessionAction.REINSTATE_SESSION,
    (True, Handle.ZERO, True): SessionAction.REINSTATE_SESSION,
    (True, Handle.THAT, False): SessionAction.ADD_CONNECTION,
    (True, Handle.THAT, True): SessionAction.REINSTATE_CONNECTION,
    (True, Handle.OTHER, False): SessionAction.ABSENT,
    (True, Handle.OTHER, True): SessionAction.ABSENT,
    (False, Handle.OTHER, False): SessionAction.ABSENT,
}
"""The table of RFC 7143 6.3.1. A session is known by initiator name, ISID, target and portal group together: an
initiator that guesses a live TSIH and ISID under another name meets ABSENT."""


class Status:
    """Status class and detail of a Login Response (RFC 7143 11.13.5)."""

    SUCCESS: Final = LoginStatus(0, 0)
    MOVED_TEMPORARILY: Final = errors.MOVED_TEMPORARILY
    MOVED_PERMANENTLY: Final = errors.MOVED_PERMANENTLY
    INITIATOR_ERROR: Final = errors.INITIATOR_ERROR
    AUTHENTICATION_FAILURE: Final = errors.AUTHENTICATION_FAILURE
    FORBIDDEN: Final = LoginStatus(2, 2)
    NOT_FOUND: Final = LoginStatus(2, 3)
    REMOVED: Final = LoginStatus(2, 4)
    UNSUPPORTED_VERSION: Final = LoginStatus(2, 5)
    TOO_MANY_CONNECTIONS: Final = LoginStatus(2, 6)
    MISSING_PARAMETER: Final = LoginStatus(2, 7)
    CANNOT_INCLUDE: Final = LoginStatus(2, 8)
    SESSION_TYPE_NOT_SUPPORTED: Final = LoginStatus(2, 9)
    SESSION_DOES_NOT_EXIST: Final = LoginStatus(2, 10)
    INVALID_DURING_LOGIN: Final = LoginStatus(2, 11)
    TARGET_ERROR: Final = LoginStatus(3, 0)
    SERVICE_UNAVAILABLE: Final = LoginStatus(3, 1)
    OUT_OF_RESOURCES: Final = LoginStatus(3, 2)
