"""A process that has no descriptor left says so: a file that is there is not to blame."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from goldherd.block.golden import GoldenCache
from goldherd.errors import ErrorKind, ImageError
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.targets import LunConfig
from goldherd.target.disks import Disks


@contextmanager
def free_descriptors(count: int) -> Iterator[None]:
    """Lets this process open so many files more."""
    kept = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        first = os.open("/dev/null", os.O_RDONLY)
        kept.append(first)
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1 + count, hard)
        )
        while True:
            try:
                kept.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        for descriptor in [kept.pop() for _ in range(count)]:
            os.close(descriptor)
        yield
    finally:
        for descriptor in kept:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_opening_a_child_names_the_limit_however_many_descriptors_are_free(tmp_path: Path) -> None:
    hooks = Hooks(BUILTIN.items())
    golden = tmp_path / "golden.vhd"
    hooks.formats.create(f"vhd:{golden}", 1 << 20)
    lun = LunConfig(0, str(tmp_path / "child.vhd"), format="vhd", parent=golden, parent_format="vhd", create=True)
    cache = GoldenCache(1 << 20)
    disks = Disks(hooks, cache)
    disks.open(lun).close()
    disks.close()
    refused = 0
    for count in range(12):
        with free_descriptors(count):
            try:
                image = disks.open(lun)
            except ImageError as failure:
                assert failure.kind is ErrorKind.LIMIT, (count, str(failure))
                assert "RLIMIT_NOFILE" in str(failure)
                refused += 1
                disks.close()
                continue
            image.close()
        disks.close()
        assert refused, "with no descriptor at all it was refused"
        return
    pytest.fail("twelve descriptors are not enough")
