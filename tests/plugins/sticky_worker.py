"""Opens, writes and flushes disks on command, a JSON list a line: [what, arguments...]; answers a JSON value a line.

A process of its own, because system calls fail in processes that were started with the library for that.
"""

import json
import sys
import threading
from typing import Any

import structlog
from goldherd.block.image import Image
from goldherd.errors import GoldherdError

from tests.plugins.conftest import Opener, open_disk

disks: dict[str, tuple[Image, Opener]] = {}


def act(what: str, name: str, *rest: Any) -> Any:
    """One command; None, its answer, or the sentence of the error that it met."""
    try:
        return _act(what, name, *rest)
    except GoldherdError as error:
        return f"{type(error).__name__}: {error}"


def _act(what: str, name: str, *rest: Any) -> Any:
    if what == "open":
        opener = Opener()
        disks[name] = open_disk(rest[0], rest[1], opener), opener
        return None
    image, opener = disks[name]
    if what == "write":
        image.write(rest[0], memoryview(bytes([rest[2]]) * rest[1]))
    elif what == "discard":
        image.discard(rest[0], rest[1])
    elif what == "read":
        data = image.read(rest[0], rest[1])
        return data[0] if data == data[:1] * len(data) else data.hex()
    elif what == "flush":
        image.synchronize()
    elif what == "flush twice at once":
        answers = [""] * 2
        threads = [threading.Thread(target=_flush, args=(name, answers, number)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers
    elif what == "failure":
        return None if image.sync_failure is None else [image.sync_failure.number, image.sync_failure.marked]
    elif what == "close":
        del disks[name]
        try:
            image.close()
        finally:
            opener.close()
    else:
        raise ValueError(what)
    return None


def _flush(name: str, answers: list[str], number: int) -> None:
    answers[number] = act("flush", name) or "flushed"


def main() -> None:
    """Until standard input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        print(json.dumps(act(*json.loads(line))), flush=True)


main()
