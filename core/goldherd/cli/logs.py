"""Where the log goes: to stderr for people and the journal, with every detail to DATA/goldherd.log.

A traceback is a detail: it stands in the file, one JSON object per line, and never on stderr. The daemon's
lines of level info are on stderr too; other commands put only their own sentences there. structlog is imported when
the first module that logs is about to be.
"""

import contextlib
import logging
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO, cast

FILE_NAME: Final = "goldherd.log"
_QUOTED: Final = frozenset(" \t=\r\n\"'")
"""A value that has one of these stands in quotes."""
_Event = MutableMapping[str, Any]


class _Sinks:
    """The data folder of the running command, the least level that stderr gets, and that of all lines."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.level_on_stderr = logging.CRITICAL + 1
        self.level = logging.INFO


class _Stderr:
    """stderr that never fails: a daemon goes on when the reader of its log has gone; the file has every line.

    Not derived from io.TextIOBase, which would flush once more when the interpreter has taken sys.stderr away.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


_sinks = _Sinks()


def choose_folder(data: Path | None) -> None:
    """Sends details to this data folder's log, as soon as there is such a folder."""
    _sinks.folder = data


def start() -> None:
    """Makes structlog write where this module says. Called before a module is imported that may log."""
    import structlog

    to_json = structlog.processors.JSONRenderer(default=str)

    def write_file(_logger: Any, method: str, event: _Event) -> _Event:
        if _sinks.folder is not None:
            try:
                _append(_sinks.folder / FILE_NAME, f"{to_json(None, method, dict(event))!s}\n".encode())
            except (FileNotFoundError, NotADirectoryError):
                pass  # there is no data folder yet
            except OSError:
                _sinks.folder = None  # not ours to write, or full: stderr has to do
        return event

    def render_for_people(_logger: Any, method: str, event: _Event) -> str:
        if logging.getLevelNamesMapping().get(method.upper(), logging.ERROR) < _sinks.level_on_stderr:
            raise structlog.DropEvent
        exception = event.pop("exception", None)
        if exception:
            event["reason"] = str(exception).strip().rsplit("\n", 1)[-1]
        return to_text(event)

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            write_file,
            render_for_people,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_sinks.level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Stderr())),
        cache_logger_on_first_use=False,
    )


def _append(path: Path, line: bytes) -> None:
    """Adds a line to a file in one write, so that lines of several processes don't mix. A login waits for this."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def to_text(event: _Event) -> str:
    """One line for people: as structlog.dev.ConsoleRenderer words it without colors, in a tenth of the time."""
    head = f"{event.pop('timestamp', '')} [{event.pop('level', ''):<9}] {event.pop('event', '')}"
    details = [f"{key}={_shown(value)}" for key, value in sorted(event.items())]
    return " ".join([head, *details])


def _shown(value: object) -> str:
    return value if isinstance(value, str) and _QUOTED.isdisjoint(value) else repr(value)


def choose_level(name: str) -> None:
    """Lines from this level on are written, from now on: debug, info, warning or error."""
    import structlog

    _sinks.level = logging.getLevelNamesMapping()[name.upper()]
    if _sinks.level_on_stderr <= logging.CRITICAL:  # lines appear there already
        _sinks.level_on_stderr = _sinks.level
    if structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_sinks.level))


def speak(level: int = logging.INFO) -> None:
    """Lets lines from this level on appear on stderr as well: for commands that run until stopped."""
    start()
    _sinks.level_on_stderr = level


def note_failure(error: BaseException) -> None:
    """Logs why a command failed, in all detail; the sentence on stderr is the caller's."""
    if _sinks.folder is None or not _sinks.folder.is_dir():
        return  # there is no file to write it to
    start()
    import structlog

    level, _sinks.level_on_stderr = _sinks.level_on_stderr, logging.CRITICAL + 1
    structlog.get_logger("goldherd").error("a command failed", arguments=sys.argv[1:], exc_info=error)
    _sinks.level_on_stderr = level


def where() -> str:
    """Where a user finds the details."""
    if _sinks.folder is None or not _sinks.folder.is_dir():
        return "there is no log, as the data folder is missing"
    return f"{_sinks.folder / FILE_NAME} has the details"
