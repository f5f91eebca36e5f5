"""Runs commands as users that nothing else has, wherever the interpreter lies."""

import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HIDDEN: Final = (
    'mount --bind "$1" "$2" && mount -t tmpfs -o mode=755 tmpfs "$3" && mkdir -p "$1" && mount --bind "$2" "$1" '
    "&& shift 3 && exec "
)
"""Makes an interpreter below a private home ($1 below $3) reachable to all, by way of an empty folder ($2)."""


def run_as(user: int, group: int, *command: object) -> subprocess.CompletedProcess[str]:
    """A command of another user, a member of one group, run to its end.

    Where the interpreter lies in a folder that only its owner may enter, as in root's home, the command gets a mount
    namespace of its own, in which every user may enter it.
    """
    words = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *map(str, command)]
    base = Path(sys.base_prefix)
    closed = [folder for folder in base.parents if not folder.stat().st_mode & stat.S_IXOTH]
    with tempfile.TemporaryDirectory(prefix="goldherd-python-") as empty:
        if closed:
            script = HIDDEN + '"$@"'
            words = ["unshare", "--mount", "sh", "-c", script, "sh", str(base), empty, str(closed[-1]), *words]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd="/")
