"""What plugins did wrong while goldherd ran: how often, what last, and when, for each plugin.

`Faults.charge` is the one place that turns a plugin's exception into an error that names the plugin. Each fault is one
line in the log and one more in the count, which the daemon's status shows. Knows no hook and calls no plugin.
"""

import threading
from datetime import UTC, datetime
from typing import Final, NamedTuple

import structlog

from goldherd import limits
from goldherd.errors import GoldherdError, PluginError

log = structlog.get_logger("goldherd.hooks")


class Record(NamedTuple):
    """The faults of one plugin."""

    faults: int
    last: str | None
    """The sentence of the last one; None when there was none."""
    at: str | None
    """When that was: ISO 8601, UTC, whole seconds."""


_NONE: Final = Record(0, None, None)


class ChargedError(PluginError):
    """What a plugin did wrong: named, logged and counted already."""


class Faults:
    """The faults of all plugins of a process, by name; may be used on any thread.

    The plugins are those that are registered, so their number bounds the records; a sentence has a bound of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}

    def of(self, plugin: str) -> Record:
        """What a plugin did wrong until now."""
        with self._lock:
            return self._records.get(plugin, _NONE)

    def charge(self, plugin: str, hook: str, failure: BaseException) -> GoldherdError:
        """The error for what a plugin raised in a hook, which is logged and counted.

        An error of goldherd that a plugin may raise, and one that is charged already, is passed on as it is.
        """
        if isinstance(failure, ChargedError) or (
            isinstance(failure, GoldherdError) and not isinstance(failure, PluginError)
        ):
            return failure
        what = str(failure) if isinstance(failure, PluginError) else f"{type(failure).__name__}: {failure}"
        log.error("a plugin failed", plugin=plugin, hook=hook, why=what)
        error = ChargedError(f"The plugin {plugin} failed in {hook} ({what.rstrip('.')}). Update or remove it.")
        self.count(plugin, str(error))
        return error

    def count(self, plugin: str, sentence: str) -> None:
        """One more fault of a plugin, which is in the log already."""
        most = limits.FAULT_SENTENCE_CHARACTERS_MAX
        kept = sentence if len(sentence) <= most else f"{sentence[: most - 3]}..."
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._lock:
            self._records[plugin] = Record(self._records.get(plugin, _NONE).faults + 1, kept, at)
