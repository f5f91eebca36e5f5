"""AuthMethod=None."""

import pytest
from goldherd.errors import ProtocolError
from goldherd.model.targets import ChapCredentials
from goldherd_plugins.auth_none import start_login


def test_answers_only_where_nothing_is_asked_for():
    assert start_login(None).method == "None"
    assert start_login(ChapCredentials("pc-001", b"a secret of 16 b")) is None


def test_is_finished_before_it_starts():
    exchange = start_login(None)
    assert exchange.finished
    with pytest.raises(ProtocolError):
        exchange.step({"None_A": "1"})
