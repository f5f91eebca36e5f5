"""An initiator that writes to a node's disk, flushes and reads back: client.py HOST:PORT NODE READ WRITE

READ and WRITE are bytes that fill a block each: block 100 holds READ before, and WRITE afterwards.
"""

import sys

from tests.support.targets import PREFIX
from tests.target.initiator import log_in


def main(place: str, node: str, held: str, written: str) -> None:
    """Raises AssertionError when the disk does not hold what it should, or an answer is not GOOD."""
    host, _, port = place.rpartition(":")
    with log_in((host, int(port)), f"{PREFIX}:{node}", f"{PREFIX}.node:{node}").make_ready() as session:
        assert session.read(100, 1) == bytes.fromhex(held) * 512
        assert session.write(100, bytes.fromhex(written) * 512).status == 0
        assert session.flush().status == 0
        assert session.read(100, 1) == bytes.fromhex(written) * 512
        session.log_out()
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
