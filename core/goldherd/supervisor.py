"""What the daemon tells the supervisor that started it: the protocol of sd_notify(3), which systemd and others speak.

A daemon that nobody supervises has no NOTIFY_SOCKET in its environment and tells nothing.
"""

import os
import socket
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"


def notify(**fields: object) -> bool:
    """Sends NAME=VALUE lines, e.g. `notify(READY=1)`; whether there is a supervisor that took them.

    A supervisor that takes nothing now is not waited for: no client must suffer from it.
    """
    address = os.environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # a name of the abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(f"{name}={value}" for name, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as door:
        try:
            door.sendto(message.encode(), address)
        except OSError:
            return False
    return True
