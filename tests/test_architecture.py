"""docs/architecture.md is true: its drawing is the code's, and every step of its walks is there."""

import pytest

from tests.support.architecture import DOCUMENT, Step, drawn_anew, missing, rooms, walks

TEXT = DOCUMENT.read_text()
WALKS = list(walks(TEXT))


def test_drawing_is_that_of_the_code() -> None:
    assert drawn_anew(TEXT, rooms()) == TEXT, "run scripts/rooms --write"


def test_read_write_login_and_node_add_are_told() -> None:
    assert len(WALKS) == 4
    assert all(len(steps) >= 8 for _, steps in WALKS)


@pytest.mark.parametrize(("title", "steps"), WALKS, ids=[title for title, _ in WALKS])
def test_every_step_of_a_walk_is_there_and_is_led_to(title: str, steps: list[Step]) -> None:
    assert not missing(steps)


def test_step_that_is_gone_is_seen() -> None:
    gone = Step("one", "session/service.pyx", ("serve_connection", "hop"))
    assert missing([gone]) == ["step 1: session/service.pyx defines no hop"]


def test_step_without_a_way_to_it_is_seen() -> None:
    first = Step("one", "session/backlog.pyx", ("keep_rest",))
    jump = Step("one", "session/emit.pyx", ("emit_r2t",))
    assert missing([first, jump]) == ["step 2: no step before it names emit_r2t"]
