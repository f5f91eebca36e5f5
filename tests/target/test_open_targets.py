"""What a running server says it has open (model.targets.Live)."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from goldherd.block.golden import GoldenCache
from goldherd.block.image import Image
from goldherd.hooks import BUILTIN, Hooks
from goldherd.model.targets import Live, LunConfig
from goldherd.target.disks import Disks
from goldherd.target.open_targets import OpenTargets

from tests.target.inprocess import one_disk


class SlowDisks(Disks):
    """Disks whose opening a test can hold up."""

    opening, go_on = threading.Event(), threading.Event()

    def open(self, config: LunConfig) -> Image:
        self.opening.set()
        assert self.go_on.wait(30)
        return super().open(config)


def test_disks_count_as_open_from_their_opening_to_the_end_of_their_closing(tmp_path: Path) -> None:
    config = replace(one_disk(tmp_path), node="one")
    disks = SlowDisks(Hooks(BUILTIN.items()), GoldenCache(1 << 20))

    async def live_and_die(targets: OpenTargets) -> None:
        live: Live = targets
        assert (live.open_nodes(), live.open_files()) == (frozenset(), frozenset())
        opened = asyncio.ensure_future(targets.open(config))
        await asyncio.to_thread(disks.opening.wait, 30)
        assert live.open_nodes() == {"one"}
        disks.go_on.set()
        target = await opened
        assert live.open_nodes() == {"one"}
        assert live.open_files() == {config.luns[0].path}
        closed = asyncio.ensure_future(targets.close(target))
        await asyncio.sleep(0)
        assert live.open_nodes() == {"one"} or closed.done()
        await closed
        assert (live.open_nodes(), live.open_files()) == (frozenset(), frozenset())

    with ThreadPoolExecutor(2) as executor:
        asyncio.run(live_and_die(OpenTargets(disks, executor, None)))
