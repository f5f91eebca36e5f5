"""Nodes: a disk, a target and an access rule each; adding twice changes nothing."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from goldherd.catalog import changes
from goldherd.errors import CatalogError, ImageError, StorageFullError
from goldherd.limits import OVERLAYS_TOGETHER_MAX
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.model.nodes import NodeSpec, Outcome
from goldherd.services import images, nodes
from goldherd.services.context import Services
from goldherd.services.importing import SealedOpener

from tests.services.conftest import lying

Sealer = Callable[..., VersionRecord]
LAB = NodeSpec(image=ImageRef("lab", None))


def initiator(node: str) -> str:
    return f"iqn.2026-11.io.test.node:{node}"


def add(services: Services, names: list[str], **fields: Any) -> Outcome:
    asked = NodeSpec(image=fields.pop("image", ImageRef("lab", None)), **fields)
    return nodes.add(services, names, asked)


def overlays(services: Services) -> list[str]:
    return sorted(path.name for path in lying(services.volumes.overlays))


def test_node_gets_a_disk_and_an_access_rule(services: Services, seal: Sealer) -> None:
    version = seal()
    assert add(services, ["pc-1"]).changed == ["pc-1"]
    (node,) = nodes.list_nodes(services)
    assert (node.image, node.version, node.pinned, node.policy) == ("lab", 1, False, "keep")
    assert node.initiators == (initiator("pc-1"),)
    assert node.overlay == services.volumes.overlays / "pc-1.lab@1.vhd"
    assert node.overlay is not None and node.overlay.exists()
    opener = SealedOpener(services, version.path)
    disk = services.formats.open(f"vhd:{node.overlay}", "r", opener)
    assert disk.read(0, version.size_bytes) == version.path.read_bytes()[: version.size_bytes]
    disk.close()
    opener.close()


def test_second_run_changes_nothing(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1", "pc-2"], policy="reset")
    before = {path: path.stat().st_mtime_ns for path in lying(services.volumes.overlays)}
    outcome = add(services, ["pc-1", "pc-2"], policy="reset")
    assert (outcome.changed, outcome.unchanged) == ([], ["pc-1", "pc-2"])
    assert before == {path: path.stat().st_mtime_ns for path in lying(services.volumes.overlays)}


def test_only_the_missing_nodes_are_added(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"], policy="reset")
    outcome = add(services, ["pc-1", "pc-2"])
    assert (outcome.changed, outcome.unchanged) == (["pc-2"], ["pc-1"])


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"policy": "reset"}, "policy"),
        ({"rules": ("initiator:any",)}, "access rule"),
        ({"macs": ("52:54:00:00:00:01",)}, "MAC address"),
        ({"chap_user": "u", "chap_secret": b"secret-secret"}, "CHAP user"),
        ({"image": ImageRef("other", None)}, "image"),
    ],
)
def test_existing_node_that_differs_is_refused_and_nothing_is_added(
    services: Services, seal: Sealer, fields: dict[str, Any], what: str
) -> None:
    seal()
    seal("other")
    add(services, ["pc-1"])
    names = ["pc-1"] if "macs" in fields else ["pc-0", "pc-1"]
    with pytest.raises(CatalogError, match=f"pc-1 exists with another {what}"):
        add(services, names, **fields)
    assert [node.name for node in nodes.list_nodes(services)] == ["pc-1"]
    assert overlays(services) == ["pc-1.lab@1.vhd"]


def test_unknown_image_is_refused(services: Services) -> None:
    with pytest.raises(CatalogError, match="There is no image lab"):
        add(services, ["pc-1"])


def test_changed_golden_gets_no_nodes(services: Services, seal: Sealer) -> None:
    os.utime(seal().path, ns=(1, 1))
    with pytest.raises(ImageError, match="was changed"):
        add(services, ["pc-1"])
    assert overlays(services) == []


def test_mac_address_belongs_to_one_node(services: Services, seal: Sealer) -> None:
    seal()
    mac = ("52:54:00:00:00:01",)
    add(services, ["pc-1"], macs=mac)
    with pytest.raises(CatalogError, match="52:54:00:00:00:01 belongs to pc-1"):
        add(services, ["pc-2"], macs=mac)
    with pytest.raises(CatalogError, match="belongs to one node"):
        add(services, ["pc-3", "pc-4"], macs=mac)
    assert overlays(services) == ["pc-1.lab@1.vhd"]


def test_failure_in_the_middle_leaves_no_disk_and_no_node(
    services: Services, seal: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal()
    real = services.formats.create

    def full(url: str, size_bytes: int, parent: Any) -> None:
        real(url, size_bytes, parent)
        if "pc-7." in url:
            raise OSError(errno.ENOSPC, "No space left on device", url.partition(":")[2])

    monkeypatch.setattr(services.formats, "create", full)
    with pytest.raises(StorageFullError, match="the file system is full"):
        add(services, [f"pc-{number}" for number in range(20)])
    assert overlays(services) == []
    assert nodes.list_nodes(services) == []


def test_network_cards_can_be_taken_away(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"], macs=("52:54:00:00:00:01",))
    add(services, ["pc-2"])
    assert nodes.change(services, ["pc-1", "pc-2"], NodeSpec(macs=())).changed == ["pc-1"]
    assert [node.macs for node in nodes.list_nodes(services)] == [(), ()]


def test_nodes_are_listed_by_number(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-11", "pc-3", "pc-1", "a"])
    assert [node.name for node in nodes.list_nodes(services)] == ["a", "pc-1", "pc-3", "pc-11"]


KILLED_ADD = """
import os, signal, sys
from pathlib import Path
from goldherd.formats import Formats
from goldherd.hooks import Hooks
from goldherd.model.images import ImageRef
from goldherd.model.nodes import NodeSpec
from goldherd.services import nodes
from goldherd.services.context import Services
class Killing(Formats):
    def create(self, url, size_bytes, parent):
        super().create(url, size_bytes, parent)
        if "pc-5." in url:
            os.kill(os.getpid(), signal.SIGKILL)
names = [f"pc-{number}" for number in range(10)]
spec = NodeSpec(image=ImageRef("lab", None), chap_user="u", chap_secret=b"secret-secret")
nodes.add(Services(Path(sys.argv[1]), lambda: Killing(Hooks()), "iqn.2026-11.io.test"), names, spec)
"""


def test_killed_add_leaves_nothing_and_can_be_run_again(services: Services, seal: Sealer) -> None:
    seal()
    ended = subprocess.run([sys.executable, "-c", KILLED_ADD, str(services.data)], check=False)
    assert ended.returncode == -9
    assert nodes.list_nodes(services) == []
    assert overlays(services) != []
    services.volumes.journal.sweep()
    assert overlays(services) == []
    assert len(add(services, [f"pc-{number}" for number in range(10)]).changed) == 10


KILLED_CHANGE = """
import os, signal, sys
from pathlib import Path
from goldherd.catalog import changes
from goldherd.formats import Formats
from goldherd.hooks import Hooks
from goldherd.model.images import ImageRef
from goldherd.model.nodes import NodeSpec
from goldherd.services import nodes
from goldherd.services.context import Services
data, operation, moment = sys.argv[1:]
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
class Killing(Formats):
    def create(self, url, *arguments, **options):
        super().create(url, *arguments, **options)
        if moment == "create" and "pc-5." in url:
            die()
if moment == "decide":
    changes.decide = die
if moment == "finish":
    replace = Path.replace
    Path.replace = lambda path, target: die() if "pc-5" in path.name else replace(path, target)
names = [f"pc-{number}" for number in range(10)]
services = Services(Path(data), lambda: Killing(Hooks()), "iqn.2026-11.io.test")
if operation == "reset":
    nodes.reset(services, names)
else:
    spec = NodeSpec(image=ImageRef("other", None), chap_user="u", chap_secret=b"another-secret")
    nodes.change(services, names, spec)
"""


@pytest.mark.parametrize("moment", ["create", "decide", "finish"])
@pytest.mark.parametrize("operation", ["reset", "set"])
def test_killed_change_is_done_whole_or_not_at_all(
    services: Services, seal: Sealer, operation: str, moment: str
) -> None:
    seal()
    seal("other")
    names = [f"pc-{number}" for number in range(10)]
    add(services, names, chap_user="u", chap_secret=b"secret-secret")
    for path in lying(services.volumes.overlays):
        with path.open("ab") as file:
            file.write(b"what the guest wrote")
    arguments = [str(services.data), operation, moment]
    assert subprocess.run([sys.executable, "-c", KILLED_CHANGE, *arguments], check=False).returncode == -9
    services.volumes.journal.sweep()
    done = moment == "finish"
    old = [b"what the guest wrote" in services.volumes.overlay(name, "lab", 1, "vhd").read_bytes() for name in names]
    assert old == [operation == "set" or not done] * 10
    assert len(overlays(services)) == (20 if operation == "set" and done else 10)
    secrets = {path.read_bytes() for path in services.volumes.secrets.iterdir()}
    assert secrets == {b"another-secret" if operation == "set" and done else b"secret-secret"}
    assert len(list(services.volumes.secrets.iterdir())) == 10
    assert {node.image for node in nodes.list_nodes(services)} == {"other" if operation == "set" and done else "lab"}


def test_disks_of_a_thousand_nodes_become_durable_together_and_before_the_decision(
    services: Services, seal: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal()
    names = [f"pc-{number}" for number in range(1000)]
    synced: list[Path] = []
    fsync, decide = os.fsync, changes.decide

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def deciding(*arguments: Any) -> None:
        files = {path.name for path in synced if path.parent == services.volumes.overlays}
        assert files == {f"{name}.lab@1.vhd" for name in names}
        assert synced.count(services.volumes.overlays) <= 1 + len(names) // OVERLAYS_TOGETHER_MAX
        decide(*arguments)

    monkeypatch.setattr("os.fsync", noting)
    monkeypatch.setattr(changes, "decide", deciding)
    add(services, names)


@pytest.mark.parametrize("operation", [nodes.reset, nodes.remove])
def test_a_thousand_nodes_need_one_listing_of_the_folder(
    services: Services, seal: Sealer, monkeypatch: pytest.MonkeyPatch, operation: Callable[..., Any]
) -> None:
    seal()
    names = [f"pc-{number}" for number in range(1000)]
    add(services, names)
    listed: list[Path] = []
    real = Path.iterdir

    def counted(path: Path) -> Any:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(Path, "iterdir", counted)
    operation(services, names)
    assert [path for path in listed if path.is_relative_to(services.data)] == [services.volumes.overlays]


def test_dry_runs_name_what_would_go_and_touch_nothing(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"])
    disk = services.volumes.overlay("pc-1", "lab", 1, "vhd")
    before = disk.stat()
    assert nodes.reset(services, ["pc-1"], dry_run=True).files == (str(disk),)
    assert nodes.remove(services, ["pc-1"], dry_run=True).files == (str(disk),)
    assert disk.stat() == before
    assert [node.name for node in nodes.list_nodes(services)] == ["pc-1"]


def test_file_in_the_way_is_neither_used_nor_removed(services: Services, seal: Sealer) -> None:
    seal()
    stranger = services.volumes.overlays / "pc-1.lab@1.vhd"
    stranger.write_bytes(b"somebody's")
    with pytest.raises(CatalogError, match="in the way"):
        add(services, ["pc-1"])
    assert stranger.read_bytes() == b"somebody's"


def test_two_processes_add_nodes_at_the_same_time(services: Services, seal: Sealer) -> None:
    seal()
    command = [sys.executable, "-m", "goldherd.cli.main", "--data", str(services.data), "node", "add"]
    adders = [
        subprocess.Popen([*command, names, "--image", "lab"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for names in ("pc-[001-120]", "pc-[081-200]")
    ]
    for adder in adders:
        _, complaint = adder.communicate(timeout=120)
        assert (adder.returncode, complaint) == (0, b"")
    assert len(nodes.list_nodes(services)) == len(overlays(services)) == 200


def test_a_thousand_nodes(services: Services, seal: Sealer) -> None:
    seal()
    started = time.monotonic()
    outcome = add(services, [f"pc-{number:04}" for number in range(1000)])
    print(f"1000 nodes in {time.monotonic() - started:.2f} s")
    assert len(outcome.changed) == len(overlays(services)) == len(nodes.list_nodes(services)) == 1000


def test_following_node_gets_the_new_active_version(services: Services, seal: Sealer) -> None:
    seal()
    seal()
    add(services, ["follows"])
    add(services, ["pinned"], image=ImageRef("lab", 1))
    images.activate(services, ImageRef("lab", 2))
    versions = {node.name: (node.version, node.pinned) for node in nodes.list_nodes(services)}
    assert versions == {"follows": (2, False), "pinned": (1, True)}


def test_set_changes_only_what_is_named(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"], policy="reset", macs=("52:54:00:00:00:01",))
    spec = NodeSpec(macs=("52:54:00:00:00:02",), rules=("initiator:any",))
    assert nodes.change(services, ["pc-1"], spec).changed == ["pc-1"]
    assert nodes.change(services, ["pc-1"], spec).unchanged == ["pc-1"]
    (node,) = nodes.list_nodes(services)
    assert (node.macs, node.initiators, node.policy) == (("52:54:00:00:00:02",), ("any",), "reset")


def test_set_to_another_image_makes_its_disk_and_keeps_the_old(services: Services, seal: Sealer) -> None:
    seal()
    seal("other")
    add(services, ["pc-1"])
    nodes.change(services, ["pc-1"], NodeSpec(image=ImageRef("other", None)))
    assert overlays(services) == ["pc-1.lab@1.vhd", "pc-1.other@1.vhd"]


def test_set_pins_a_following_node_to_the_version_it_has(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"])
    nodes.change(services, ["pc-1"], NodeSpec(image=ImageRef("lab", 1)))
    assert nodes.list_nodes(services)[0].pinned
    nodes.change(services, ["pc-1"], LAB)
    assert not nodes.list_nodes(services)[0].pinned


def test_reset_replaces_the_disk_by_a_fresh_one(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"])
    (disk,) = lying(services.volumes.overlays)
    with disk.open("ab") as file:
        file.write(b"what the guest wrote")
    assert nodes.reset(services, ["pc-1"]).files == (str(disk),)
    assert b"what the guest wrote" not in disk.read_bytes()


@pytest.mark.parametrize("operation", ["reset", "remove", "set"])
def test_disk_in_use_is_left_alone(services: Services, seal: Sealer, operation: str) -> None:
    seal()
    seal("other")
    add(services, ["pc-1", "pc-2"])
    disk = services.volumes.overlays / "pc-2.lab@1.vhd"
    before = disk.read_bytes()
    opener = SealedOpener(services)
    running = services.formats.open(f"vhd:{disk}", "rw", opener)
    try:
        with pytest.raises(CatalogError, match="the disk of pc-2 is in use"):
            if operation == "reset":
                nodes.reset(services, ["pc-1", "pc-2"])
            elif operation == "remove":
                nodes.remove(services, ["pc-1", "pc-2"])
            else:
                other = NodeSpec(image=ImageRef("other", None))
                nodes.change(services, ["pc-1", "pc-2"], other)
    finally:
        running.close()
        opener.close()
    assert disk.read_bytes() == before
    assert [node.image for node in nodes.list_nodes(services)] == ["lab", "lab"]


def test_removed_node_takes_disks_secret_and_addresses_along(services: Services, seal: Sealer) -> None:
    seal()
    fields: dict[str, Any] = {
        "macs": ("52:54:00:00:00:01",),
        "chap_user": "u",
        "chap_secret": b"secret-secret",
    }
    add(services, ["pc-1"], **fields)
    assert nodes.remove(services, ["pc-1"]).names == ("pc-1",)
    assert (overlays(services), list(services.volumes.secrets.iterdir())) == ([], [])
    add(services, ["pc-2"], **fields)


def test_unknown_node_is_refused_and_the_others_are_left_alone(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"])
    for operation in (nodes.remove, nodes.list_nodes):
        with pytest.raises(CatalogError, match="There is no node pc-9"):
            operation(services, ["pc-1", "pc-9"])
    assert len(nodes.list_nodes(services)) == 1


def test_secret_lies_in_a_file_for_the_owner_and_nowhere_else(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"], chap_user="u", chap_secret=b"very-secret-word")
    file = services.volumes.secrets / "pc-1"
    assert file.read_bytes() == b"very-secret-word"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(services.volumes.secrets.stat().st_mode) == 0o700
    assert "very-secret-word" not in repr(nodes.list_nodes(services))
    for path in services.data.glob("catalog.sqlite*"):
        assert b"very-secret-word" not in path.read_bytes()


def test_secret_can_be_changed_and_dropped(services: Services, seal: Sealer) -> None:
    seal()
    add(services, ["pc-1"], chap_user="u", chap_secret=b"the-first-secret")
    with pytest.raises(CatalogError, match="another CHAP secret"):
        add(services, ["pc-1"], chap_user="u", chap_secret=b"the-other-secret")
    other = NodeSpec(chap_user="u", chap_secret=b"the-other-secret")
    assert nodes.change(services, ["pc-1"], other).changed == ["pc-1"]
    assert (services.volumes.secrets / "pc-1").read_bytes() == b"the-other-secret"
    nodes.change(services, ["pc-1"], NodeSpec(without_chap=True))
    assert nodes.list_nodes(services)[0].chap_user is None
    assert list(services.volumes.secrets.iterdir()) == []


def test_threads_may_add_nodes_together(services: Services, seal: Sealer) -> None:
    seal()
    threads = [
        threading.Thread(target=add, args=(services, [f"t{number}-{i}" for i in range(10)])) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(nodes.list_nodes(services)) == 40
