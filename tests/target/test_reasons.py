"""The words that logs and hooks get for the end of a connection."""

from goldherd.session.codes import CloseReason
from goldherd.target.server import REASONS


def test_every_close_reason_has_words() -> None:
    assert set(REASONS) == set(CloseReason)
