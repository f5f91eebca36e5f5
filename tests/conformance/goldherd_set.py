"""The LUN set under test, served by goldherd: every kind of unit that a test of the suite needs.

    python -m tests.conformance.goldherd_set [--only FAMILY] [--verbose]

One target per unit, because the suite resets whole targets.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Final

from tests.conformance import run
from tests.support.targets import GoldherdExport

DISK_BYTES: Final = 128 << 20
UNITS: Final = (
    "",
    ",physical-block-size=4096",
    ",removable,thick",
    ",block-size=4096,physical-block-size=4096",
)
"""Thin 512/512; 512 logical in 4096 physical; removable and fully provisioned; 4096-byte blocks."""
PROTECTED: Final = ",read-only"


def main(arguments: Sequence[str], folder: Path, watched: Callable[[Sequence[int]], run.Around] | None = None) -> int:
    """Serves the set from disks made in the folder, runs the suite over it, and gives its exit code.

    `watched` gets the ports of all units and says what is to happen around each family of tests.
    """
    with ExitStack() as stack:
        urls, ports = [], []
        for number, options in enumerate((*UNITS, PROTECTED)):
            place = folder / str(number)
            place.mkdir()
            disk = place / "disk.raw"
            with disk.open("wb") as file:
                file.truncate(DISK_BYTES)
            export = stack.enter_context(GoldherdExport([f"{disk}{options}"], place))
            urls.append(export.url())
            ports.append(export.portal.port)
        around = nullcontext if watched is None else watched(ports)
        *small, large, protected = urls
        return run.main([*small, "--large-blocks", large, "--write-protected", protected, *arguments], around)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="goldherd-conformance-") as made:
        sys.exit(main(sys.argv[1:], Path(made)))
