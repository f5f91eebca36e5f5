"""Random reads, writes, discards, flushes and reopens over chains of depth 1 to 4, against an array of
bytes."""

import shutil
import tempfile
from pathlib import Path

from goldherd_plugins.vhd.create import create_differencing, create_dynamic, create_fixed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.plugins.conftest import Opener, open_disk

SECTORS = 600
"""Of the disk: several blocks of each size, the last one not whole."""
SIZE = SECTORS * 512
BLOCKS = (512, 4096, 16384, 65536, 1 << 20)

ranges = st.tuples(st.integers(0, SECTORS - 1), st.integers(1, 200)).map(
    lambda pair: (pair[0] * 512, min(pair[1], SECTORS - pair[0]) * 512)
)


class Chain(RuleBasedStateMachine):
    """A leaf over up to three parents, and what it must read as."""

    @initialize(
        fixed=st.booleans(),
        blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4),
        history=st.lists(st.lists(st.tuples(ranges, st.integers(0, 255)), max_size=4), min_size=4, max_size=4),
    )
    def build(self, fixed: bool, blocks: list[int], history: list[list[tuple[tuple[int, int], int]]]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="goldherd-chain-"))
        self.opener = Opener()
        self.model = bytearray(SIZE)
        self.serial = 0
        path = self.folder / "0.vhd"
        for level, block_bytes in enumerate(blocks):
            above, path = path, self.folder / f"{level}.vhd"
            if level:
                create_differencing(path, above, block_bytes=block_bytes)
            elif fixed:
                create_fixed(path, SIZE)
            else:
                create_dynamic(path, SIZE, block_bytes)
            self.path = path
            self.image = open_disk(f"vhd:{path}", "rw", self.opener)
            for (offset, length), value in history[level]:
                self._write(offset, length, value)
            if level + 1 < len(blocks):
                self.image.close()

    def _write(self, offset: int, length: int, value: int) -> None:
        self.serial += 1
        data = (bytes([value]) * 500 + self.serial.to_bytes(12, "big")) * (length // 512)
        self.image.write(offset, memoryview(data))
        self.model[offset : offset + length] = data

    @rule(where=ranges, value=st.integers(0, 255))
    def write(self, where: tuple[int, int], value: int) -> None:
        self._write(*where, value)

    @rule(where=ranges)
    def write_zeros(self, where: tuple[int, int]) -> None:
        offset, length = where
        self.image.write(offset, memoryview(bytes(length)))
        self.model[offset : offset + length] = bytes(length)

    @rule(where=ranges)
    def discard(self, where: tuple[int, int]) -> None:
        offset, length = where
        self.image.discard(offset, length)
        self.model[offset : offset + length] = bytes(length)

    @rule(where=ranges)
    def read(self, where: tuple[int, int]) -> None:
        offset, length = where
        assert self.image.read(offset, length) == self.model[offset : offset + length]

    @rule(offset=st.integers(0, SIZE - 1), length=st.integers(1, 5000))
    def read_bytes(self, offset: int, length: int) -> None:
        length = min(length, SIZE - offset)
        assert self.image.read(offset, length) == self.model[offset : offset + length]

    @rule(where=ranges)
    def plan_covers_a_prefix(self, where: tuple[int, int]) -> None:
        offset, length = where
        plan = self.image.plan_of(offset, length)
        if plan in ("cold", "blocking"):
            return
        at = offset
        for kind, run, position in plan:
            if kind == "file":
                assert self.model[at : at + run] in self._in_the_files(position, run)
            if kind == "zero":
                assert bytes(run) == self.model[at : at + run]
            at += run
        assert offset < at <= offset + length

    def _in_the_files(self, position: int, length: int) -> list[bytes]:
        """What lies at a position of each file of the chain: a run may be any parent's."""
        found = []
        for path in self.folder.iterdir():
            with path.open("rb") as file:
                file.seek(position)
                found.append(file.read(length))
        return found

    @rule(where=ranges)
    def a_hole_reads_as_zeros(self, where: tuple[int, int]) -> None:
        offset, length = where
        run, hole = self.image.extent_at(offset, length)
        assert 0 < run <= length
        if hole:
            assert self.model[offset : offset + run] == bytes(run)

    @rule()
    def flush(self) -> None:
        self.image.flush()

    @rule(read_only=st.booleans())
    def reopen(self, read_only: bool) -> None:
        self.image.close()
        if read_only:
            image = open_disk(f"vhd:{self.path}", "r", self.opener)
            assert image.read(0, SIZE) == self.model
            image.close()
        self.image = open_disk(f"vhd:{self.path}", "rw", self.opener)

    @invariant()
    def the_whole_disk_is_right(self) -> None:
        if hasattr(self, "image"):
            assert self.image.read(0, SIZE) == self.model

    def teardown(self) -> None:
        if hasattr(self, "image"):
            self.image.close()
            self.opener.close()
            shutil.rmtree(self.folder)


TestChain = Chain.TestCase
TestChain.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
