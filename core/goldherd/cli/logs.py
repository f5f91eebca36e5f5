"""Where the log goes: to stderr for people and the journal, with every detail to DATA/goldherd.log.

A traceback is a detail: it stands in the file, one JSON object per line, and never on stderr. The daemon's
lines of level info are on stderr too; other commands put only their own sentences there.
"""

import contextlib
import io
import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO, cast

import structlog

FILE_NAME: Final = "goldherd.log"
_Event = MutableMapping[str, Any]


class _Sinks:
    """The data folder of the running command, and whether stderr listens."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.level_on_stderr = logging.CRITICAL + 1


class _Stderr(io.TextIOBase):
    """stderr that never fails: a daemon goes on when the reader of its log has gone; the file has every line."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


_sinks = _Sinks()
_to_json = structlog.processors.JSONRenderer(default=str)
_to_text = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)


def configure(data: Path | None) -> None:
    """Sends details to the data folder's log, as soon as there is such a folder."""
    _sinks.folder = data
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _write_file,
            _render_for_people,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Stderr())),
        cache_logger_on_first_use=False,
    )


def speak(level: int = logging.INFO) -> None:
    """Lets lines from this level on appear on stderr as well: for commands that run until stopped."""
    _sinks.level_on_stderr = level


def note_failure(error: BaseException) -> None:
    """Logs why a command failed, in all detail; the sentence on stderr is the caller's."""
    sinks, _sinks.level_on_stderr = _sinks.level_on_stderr, logging.CRITICAL + 1
    structlog.get_logger("goldherd").error("a command failed", arguments=sys.argv[1:], exc_info=error)
    _sinks.level_on_stderr = sinks


def where() -> str:
    """Where a user finds the details."""
    if _sinks.folder is None or not _sinks.folder.is_dir():
        return "there is no log, as the data folder is missing"
    return f"{_sinks.folder / FILE_NAME} has the details"


def _write_file(_logger: Any, method: str, event: _Event) -> _Event:
    if _sinks.folder is not None and _sinks.folder.is_dir():
        try:
            with (_sinks.folder / FILE_NAME).open("a") as file:
                file.write(f"{_to_json(None, method, dict(event))!s}\n")
        except OSError:
            _sinks.folder = None  # not ours to write, or full: stderr has to do
    return event


def _render_for_people(_logger: Any, method: str, event: _Event) -> str:
    if logging.getLevelNamesMapping().get(method.upper(), logging.ERROR) < _sinks.level_on_stderr:
        raise structlog.DropEvent
    exception = event.pop("exception", None)
    if exception:
        event["reason"] = str(exception).strip().rsplit("\n", 1)[-1]
    return str(_to_text(None, method, event))
