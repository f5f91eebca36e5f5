"""Writes to a VHD what a list tells, and says on /dev/null when a flush has returned; run under strace.

Usage: powercut_writer.py DISK LIST, the list in JSON: ["write", sector, count], ["discard", sector, count] or
["flush"].
"""

import json
import os
import struct
import sys
from pathlib import Path

from goldherd_plugins.vhd.opening import open_vhd

from tests.plugins.powercut_opener import Opener


def main(disk: str, script: str) -> None:
    said = os.open("/dev/null", os.O_WRONLY)
    image = open_vhd(disk, "rw", Opener())
    for number, (what, *where) in enumerate(json.loads(Path(script).read_text())):
        if what == "flush":
            image.flush()
            os.write(said, b"flushed %d" % number)
            continue
        first, count = where
        if what == "discard":
            image.discard(first * 512, count * 512)
        else:
            data = b"".join(struct.pack(">II", number, sector) * 64 for sector in range(first, first + count))
            image.write(first * 512, memoryview(data))
    # No close: the power goes off here at the latest.
    os._exit(0)


main(*sys.argv[1:])
