"""How a line of the log reads, and where it goes."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from goldherd.cli import logs

EVENTS: list[dict[str, Any]] = [
    {"timestamp": "2026-11-28T14:55:30Z", "level": "info", "event": "a session was opened", "node": None, "luns": 1},
    {"timestamp": "t", "level": "error", "event": "a plugin failed", "why": "ValueError: it's", "b": 1.5, "a": ["x y"]},
    {
        "timestamp": "t",
        "level": "critical",
        "event": "x",
        "path": "a=b",
        "text": "two\nlines",
        "bare": "iqn.a:b",
        "e": "",
    },
    {"timestamp": "t", "level": "warning", "event": "nothing else"},
]


@pytest.mark.parametrize("event", EVENTS)
def test_a_line_for_people_reads_as_structlog_words_it(event: dict[str, Any]) -> None:
    words = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    assert logs.to_text(dict(event)) == words(None, "info", dict(event))


def test_lines_go_to_a_data_folder_that_is_made_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = structlog.get_config()
    data = tmp_path / "data"
    monkeypatch.setattr(logs, "_sinks", logs._Sinks())
    try:
        logs.choose_folder(data)
        logs.start()
        log = structlog.get_logger("goldherd")
        log.info("too early")
        data.mkdir()
        log.info("kept", number=1)
        log.info("kept", number=2)
    finally:
        structlog.configure(**before)
    lines = (data / logs.FILE_NAME).read_text().splitlines()
    assert ['"number": 1' in line or '"number": 2' in line for line in lines] == [True, True]
