"""Cycles the power of a node by a command, ipmitool for example; and writes down which nodes fell silent.

The environment variable POWER_COMMAND is the command; {node} in it is the node's name.
"""

import os
import shlex
import subprocess

import structlog
from goldherd import hookimpl

log = structlog.get_logger("goldherd.power")


@hookimpl
def power_cycle(node: str) -> bool | None:
    """Runs the command, on a thread of this plugin; it has less time than goldherd gives to the hook."""
    command = os.environ.get("POWER_COMMAND")
    if not command:
        return None  # another plugin may have power over the node
    words = [word.replace("{node}", node) for word in shlex.split(command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=7, check=False)
    if done.returncode:
        log.error("the power command failed", node=node, code=done.returncode, reason=done.stderr.strip()[-200:])
    return done.returncode == 0


@hookimpl
def node_silent(node: str, seconds: float) -> None:
    """A place for a message to the people on duty."""
    log.warning("somebody should look at this node", node=node, seconds=round(seconds))
