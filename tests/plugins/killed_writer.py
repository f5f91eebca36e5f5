"""Writes sectors to a VHD without a flush, says so, and kills itself.

Usage: killed_writer.py DISK SECTOR NUMBER ...: each sector is filled with its number.
"""

import os
import signal
import sys

from goldherd_plugins.vhd.opening import open_vhd

from tests.plugins.powercut_opener import Opener


def main(disk: str, *words: str) -> None:
    image = open_vhd(disk, "rw", Opener())
    for sector, number in zip(words[::2], words[1::2], strict=True):
        image.write(int(sector) * 512, memoryview(int(number).to_bytes(8, "big") * 64))
    os.write(1, b"written\n")
    os.kill(os.getpid(), signal.SIGKILL)


main(*sys.argv[1:])
