"""The tables of the login are complete and say what RFC 7143 says."""

from goldherd.errors import LoginStatus
from goldherd.negotiation.states import MOVES, SESSION_ACTIONS, Handle, SessionAction, Status
from goldherd.wire.opcodes import Stage


def test_moves_go_forward_only():
    assert all(after > before for before, goals in MOVES.items() for after in goals)
    assert Stage.FULL_FEATURE not in MOVES


def test_every_case_of_the_session_table_has_an_action():
    # An unknown session has no TSIH that could be its own, and no connections.
    possible = {(True, handle, in_use) for handle in Handle for in_use in (False, True)}
    possible |= {(False, Handle.ZERO, False), (False, Handle.OTHER, False)}
    assert set(SESSION_ACTIONS) == possible
    assert set(SESSION_ACTIONS.values()) == set(SessionAction)


def test_status_codes_are_those_of_the_standard():
    codes = {name: status for name, status in vars(Status).items() if isinstance(status, LoginStatus)}
    assert len(set(codes.values())) == len(codes)
    assert {status.status_class * 256 + status.detail for status in codes.values()} == {
        0x0000,
        0x0101,
        0x0102,
        *range(0x0200, 0x020C),
        0x0300,
        0x0301,
        0x0302,
    }
