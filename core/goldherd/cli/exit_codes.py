"""How a command ends, as its exit code says; 0 is done, and 2 wrong usage, which Click says itself."""

import signal
from typing import Final

REFUSED: Final = 1
"""Refused or failed; one sentence said why."""
INTERRUPTED: Final = 128 + signal.SIGINT
"""Ctrl-C ended it."""
READER_GONE: Final = 128 + signal.SIGPIPE
"""Its output is read no more, as after the last line that `head` wants."""
