"""What commands print: tables for people, JSON for programs, sentences on stderr, a bar for long work."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

from goldherd.cli.exit_codes import READER_GONE
from goldherd.limits import PROGRESS_AFTER_SECONDS

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from goldherd.model.progress import Progress

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STAGES: Final = {"copy": "Copying", "hash": "Hashing", "protect": "Protecting"}


def say(text: str) -> None:
    """Text and a line's end on stdout, at once: whoever waits for it may be a program.

    Raises typer.Exit when the reader has gone: what is left to print has no reader either.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise typer.Exit(READER_GONE) from None


def complain(text: str) -> None:
    """One line on stderr; a stderr that takes no text does not change how a command ends."""
    with contextlib.suppress(OSError):
        print(" ".join(text.split()), file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """A value as JSON on stdout; keys keep the order that docs/cli.md gives them."""
    import json

    say(json.dumps(value, indent=2))


def show_error(kind: str, about: Sequence[tuple[str, str]], reason: str, hint: str | None) -> None:
    """A failure as JSON on stdout, in the place of the result (docs/cli.md)."""
    show_json({"error": error_json(kind, about, reason, hint)})


def error_json(kind: str, about: Sequence[tuple[str, str]], reason: str, hint: str | None) -> dict[str, Any]:
    """A failure as programs see it (docs/cli.md)."""
    things = [{"type": type_, "name": name} for type_, name in about]
    return {"kind": str(kind), "about": things, "reason": " ".join(reason.split()), "hint": hint}


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], dispensable: Sequence[str] = ()) -> None:
    """A table on stdout. No cell is ever wrapped or cut.

    Args:
        columns: the titles.
        rows: as many cells as there are columns.
        dispensable: titles of columns that a narrow terminal does without, the first one first. Without a terminal
            every column is there, so that grep finds everything.
    """
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    shown = list(range(len(columns)))
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        for title in dispensable:
            if sum(widths[index] for index in shown) + 2 * (len(shown) - 1) <= room:
                break
            shown.remove(columns.index(title))
    rule = ["\u2500" * width for width in widths]
    for row in (columns, rule, *rows):
        say("  ".join(f"{row[index]:<{widths[index]}}" for index in shown).rstrip())


def confirm(question: str, yes: bool) -> None:
    """Asks on a terminal before data is removed; typer.Abort for a no.

    Raises typer.BadParameter when there is no terminal and --yes was not given.
    """
    if yes:
        return
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise typer.BadParameter("this removes data and there is no terminal to ask on: give --yes, or --dry-run.")
    typer.confirm(question, abort=True, err=True)


@contextlib.contextmanager
def kept_clean() -> Iterator[None]:
    """Sends to stderr what others print meanwhile: a plugin that prints does not spoil the result on stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def show_fields(fields: Sequence[tuple[str, str]]) -> None:
    """One thing, a field per line."""
    width = max(len(name) for name, _ in fields) + 2
    for name, value in fields:
        say(f"{name + ':':<{width}}{value}")


def size_text(count_bytes: int) -> str:
    """A size for people: three digits and a unit."""
    value, unit = float(count_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count_bytes} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def age_text(at: str) -> str:
    """How long ago a time of the catalog was, in its largest unit: "3 days ago"."""
    from datetime import UTC, datetime

    seconds = int((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{count_text(seconds // length, unit)} ago"
    return "just now"


def count_text(count: int, noun: str) -> str:
    """ "1 node", "40 nodes"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@contextlib.contextmanager
def progress_bar(about: str = "") -> "Iterator[Progress]":
    """A callback that draws a bar on a terminal, once something takes longer than a second; `about` goes before it."""
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    bar: Bar | None = None
    tasks: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        nonlocal bar
        if not terminal or time.monotonic() - started < PROGRESS_AFTER_SECONDS:
            return
        if bar is None:
            bar = _bar()
            bar.start()
        if stage not in tasks:
            title = _STAGES.get(stage, stage.capitalize())
            tasks[stage] = bar.add_task(f"{about} {title}".strip(), total=total)
        bar.update(tasks[stage], completed=done)

    try:
        yield update
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> "Bar":
    """A bar for bytes on stderr, gone when it ends."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
