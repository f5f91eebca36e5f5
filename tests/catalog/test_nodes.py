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
from goldherd.catalog import Catalog, ImageRef, NodeWishes, VersionRecord, images, nodes
from goldherd.catalog.importing import SealedOpener
from goldherd.catalog.leftovers import sweep
from goldherd.errors import CatalogError, ImageError, StorageFullError

Sealer = Callable[..., VersionRecord]
LAB = NodeWishes(image=ImageRef("lab", None))


def initiator(node: str) -> str:
    return f"iqn.2026-11.io.test:{node}"


def add(catalog: Catalog, formats: Any, names: list[str], **wishes: Any) -> nodes.Outcome:
    asked = NodeWishes(image=wishes.pop("image", ImageRef("lab", None)), **wishes)
    return nodes.add(catalog, formats, names, asked, initiator)


def overlays(catalog: Catalog) -> list[str]:
    return sorted(path.name for path in catalog.overlays.iterdir())


def test_node_gets_a_disk_and_an_access_rule(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    version = seal()
    assert add(catalog, formats, ["pc-1"]).changed == ["pc-1"]
    (node,) = nodes.list_nodes(catalog)
    assert (node.image, node.version, node.pinned, node.policy) == ("lab", 1, False, "keep")
    assert node.initiators == (initiator("pc-1"),)
    assert node.overlay == catalog.overlays / "pc-1.lab@1.vhd"
    assert node.overlay is not None and node.overlay.exists()
    opener = SealedOpener(catalog, formats, version.path)
    disk = formats.open(f"vhd:{node.overlay}", "r", opener)
    assert disk.read(0, version.size_bytes) == version.path.read_bytes()[: version.size_bytes]
    disk.close()
    opener.close()


def test_second_run_changes_nothing(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1", "pc-2"], policy="reset")
    before = {path: path.stat().st_mtime_ns for path in catalog.overlays.iterdir()}
    outcome = add(catalog, formats, ["pc-1", "pc-2"], policy="reset")
    assert (outcome.changed, outcome.unchanged) == ([], ["pc-1", "pc-2"])
    assert before == {path: path.stat().st_mtime_ns for path in catalog.overlays.iterdir()}


def test_only_the_missing_nodes_are_added(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1"], policy="reset")
    outcome = add(catalog, formats, ["pc-1", "pc-2"])
    assert (outcome.changed, outcome.unchanged) == (["pc-2"], ["pc-1"])


@pytest.mark.parametrize(
    ("wishes", "what"),
    [
        ({"policy": "reset"}, "policy"),
        ({"rules": ("initiator:any",)}, "access rule"),
        ({"macs": ("52:54:00:00:00:01",)}, "MAC address"),
        ({"chap_user": "u", "chap_secret": b"secret-secret"}, "CHAP user"),
        ({"image": ImageRef("other", None)}, "image"),
    ],
)
def test_existing_node_that_differs_is_refused_and_nothing_is_added(
    catalog: Catalog, formats: Any, seal: Sealer, wishes: dict[str, Any], what: str
) -> None:
    seal()
    seal("other")
    add(catalog, formats, ["pc-1"])
    names = ["pc-1"] if "macs" in wishes else ["pc-0", "pc-1"]
    with pytest.raises(CatalogError, match=f"pc-1 exists with another {what}"):
        add(catalog, formats, names, **wishes)
    assert [node.name for node in nodes.list_nodes(catalog)] == ["pc-1"]
    assert overlays(catalog) == ["pc-1.lab@1.vhd"]


def test_unknown_image_is_refused(catalog: Catalog, formats: Any) -> None:
    with pytest.raises(CatalogError, match="There is no image lab"):
        add(catalog, formats, ["pc-1"])


def test_changed_golden_gets_no_nodes(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    os.utime(seal().path, ns=(1, 1))
    with pytest.raises(ImageError, match="was changed"):
        add(catalog, formats, ["pc-1"])
    assert overlays(catalog) == []


def test_mac_address_belongs_to_one_node(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    mac = ("52:54:00:00:00:01",)
    add(catalog, formats, ["pc-1"], macs=mac)
    with pytest.raises(CatalogError, match="belongs to another node"):
        add(catalog, formats, ["pc-2"], macs=mac)
    with pytest.raises(CatalogError, match="belongs to one node"):
        add(catalog, formats, ["pc-3", "pc-4"], macs=mac)
    assert overlays(catalog) == ["pc-1.lab@1.vhd"]


def test_failure_in_the_middle_leaves_no_disk_and_no_node(
    catalog: Catalog, formats: Any, seal: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal()
    real = formats.create

    def full(url: str, size_bytes: int, parent: Path | None) -> None:
        real(url, size_bytes, parent)
        if "pc-7." in url:
            raise OSError(errno.ENOSPC, "No space left on device", url.partition(":")[2])

    monkeypatch.setattr(formats, "create", full)
    with pytest.raises(StorageFullError, match="the file system is full"):
        add(catalog, formats, [f"pc-{number}" for number in range(20)])
    assert overlays(catalog) == []
    assert nodes.list_nodes(catalog) == []


KILLED_ADD = """
import os, signal, sys
from pathlib import Path
from goldherd.catalog import Catalog, ImageRef, NodeWishes, nodes
from goldherd.hooks import Hooks
class Killing(Hooks):
    def create(self, url, size_bytes, parent):
        super().create(url, size_bytes, parent)
        if "pc-5." in url:
            os.kill(os.getpid(), signal.SIGKILL)
names = [f"pc-{number}" for number in range(10)]
wishes = NodeWishes(image=ImageRef("lab", None), chap_user="u", chap_secret=b"secret-secret")
nodes.add(Catalog(Path(sys.argv[1])), Killing(), names, wishes, lambda node: "any")
"""


def test_killed_add_leaves_nothing_and_can_be_run_again(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    ended = subprocess.run([sys.executable, "-c", KILLED_ADD, str(catalog.data)], check=False)
    assert ended.returncode == -9
    assert nodes.list_nodes(catalog) == []
    assert overlays(catalog) != []
    sweep(catalog)
    assert overlays(catalog) == []
    assert len(add(catalog, formats, [f"pc-{number}" for number in range(10)]).changed) == 10


def test_file_in_the_way_is_neither_used_nor_removed(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    stranger = catalog.overlays / "pc-1.lab@1.vhd"
    stranger.write_bytes(b"somebody's")
    with pytest.raises(CatalogError, match="in the way"):
        add(catalog, formats, ["pc-1"])
    assert stranger.read_bytes() == b"somebody's"


def test_two_processes_add_nodes_at_the_same_time(catalog: Catalog, seal: Sealer) -> None:
    seal()
    command = [sys.executable, "-m", "goldherd.cli.main", "--data", str(catalog.data), "node", "add"]
    adders = [
        subprocess.Popen([*command, names, "--image", "lab"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for names in ("pc-[001-120]", "pc-[081-200]")
    ]
    for adder in adders:
        _, complaint = adder.communicate(timeout=120)
        assert (adder.returncode, complaint) == (0, b"")
    assert len(nodes.list_nodes(catalog)) == len(overlays(catalog)) == 200


def test_a_thousand_nodes(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    started = time.monotonic()
    outcome = add(catalog, formats, [f"pc-{number:04}" for number in range(1000)])
    print(f"1000 nodes in {time.monotonic() - started:.2f} s")
    assert len(outcome.changed) == len(overlays(catalog)) == len(nodes.list_nodes(catalog)) == 1000


def test_following_node_gets_the_new_active_version(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    seal()
    add(catalog, formats, ["follows"])
    add(catalog, formats, ["pinned"], image=ImageRef("lab", 1))
    images.activate(catalog, ImageRef("lab", 2))
    versions = {node.name: (node.version, node.pinned) for node in nodes.list_nodes(catalog)}
    assert versions == {"follows": (2, False), "pinned": (1, True)}


def test_set_changes_only_what_is_named(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1"], policy="reset", macs=("52:54:00:00:00:01",))
    wishes = NodeWishes(macs=("52:54:00:00:00:02",), rules=("initiator:any",))
    assert nodes.change(catalog, formats, ["pc-1"], wishes).changed == ["pc-1"]
    assert nodes.change(catalog, formats, ["pc-1"], wishes).unchanged == ["pc-1"]
    (node,) = nodes.list_nodes(catalog)
    assert (node.macs, node.initiators, node.policy) == (("52:54:00:00:00:02",), ("any",), "reset")


def test_set_to_another_image_makes_its_disk_and_keeps_the_old(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    seal("other")
    add(catalog, formats, ["pc-1"])
    nodes.change(catalog, formats, ["pc-1"], NodeWishes(image=ImageRef("other", None)))
    assert overlays(catalog) == ["pc-1.lab@1.vhd", "pc-1.other@1.vhd"]


def test_set_pins_a_following_node_to_the_version_it_has(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1"])
    nodes.change(catalog, formats, ["pc-1"], NodeWishes(image=ImageRef("lab", 1)))
    assert nodes.list_nodes(catalog)[0].pinned
    nodes.change(catalog, formats, ["pc-1"], LAB)
    assert not nodes.list_nodes(catalog)[0].pinned


def test_reset_replaces_the_disk_by_a_fresh_one(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1"])
    (disk,) = catalog.overlays.iterdir()
    with disk.open("ab") as file:
        file.write(b"what the guest wrote")
    assert nodes.reset(catalog, formats, ["pc-1"]) == 1
    assert b"what the guest wrote" not in disk.read_bytes()


@pytest.mark.parametrize("operation", ["reset", "remove", "set"])
def test_disk_in_use_is_left_alone(catalog: Catalog, formats: Any, seal: Sealer, operation: str) -> None:
    seal()
    seal("other")
    add(catalog, formats, ["pc-1", "pc-2"])
    disk = catalog.overlays / "pc-2.lab@1.vhd"
    before = disk.read_bytes()
    opener = SealedOpener(catalog, formats)
    running = formats.open(f"vhd:{disk}", "rw", opener)
    try:
        with pytest.raises(CatalogError, match="its disk is in use"):
            if operation == "reset":
                nodes.reset(catalog, formats, ["pc-1", "pc-2"])
            elif operation == "remove":
                nodes.remove(catalog, ["pc-1", "pc-2"])
            else:
                other = NodeWishes(image=ImageRef("other", None))
                nodes.change(catalog, formats, ["pc-1", "pc-2"], other)
    finally:
        running.close()
        opener.close()
    assert disk.read_bytes() == before
    assert [node.image for node in nodes.list_nodes(catalog)] == ["lab", "lab"]


def test_removed_node_takes_disks_secret_and_addresses_along(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    wishes: dict[str, Any] = {
        "macs": ("52:54:00:00:00:01",),
        "chap_user": "u",
        "chap_secret": b"secret-secret",
    }
    add(catalog, formats, ["pc-1"], **wishes)
    assert nodes.remove(catalog, ["pc-1"]) == 1
    assert (overlays(catalog), list(catalog.secrets.iterdir())) == ([], [])
    add(catalog, formats, ["pc-2"], **wishes)


def test_unknown_node_is_refused_and_the_others_are_left_alone(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1"])
    for operation in (nodes.remove, nodes.list_nodes):
        with pytest.raises(CatalogError, match="There is no node pc-9"):
            operation(catalog, ["pc-1", "pc-9"])
    assert len(nodes.list_nodes(catalog)) == 1


def test_secret_lies_in_a_file_for_the_owner_and_nowhere_else(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1"], chap_user="u", chap_secret=b"very-secret-word")
    file = catalog.secrets / "pc-1"
    assert file.read_bytes() == b"very-secret-word"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(catalog.secrets.stat().st_mode) == 0o700
    assert "very-secret-word" not in repr(nodes.list_nodes(catalog))
    for path in catalog.data.glob("catalog.sqlite*"):
        assert b"very-secret-word" not in path.read_bytes()


def test_secret_can_be_changed_and_dropped(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    add(catalog, formats, ["pc-1"], chap_user="u", chap_secret=b"the-first-secret")
    with pytest.raises(CatalogError, match="another CHAP secret"):
        add(catalog, formats, ["pc-1"], chap_user="u", chap_secret=b"the-other-secret")
    other = NodeWishes(chap_user="u", chap_secret=b"the-other-secret")
    assert nodes.change(catalog, formats, ["pc-1"], other).changed == ["pc-1"]
    assert (catalog.secrets / "pc-1").read_bytes() == b"the-other-secret"
    nodes.change(catalog, formats, ["pc-1"], NodeWishes(without_chap=True))
    assert nodes.list_nodes(catalog)[0].chap_user is None
    assert list(catalog.secrets.iterdir()) == []


def test_threads_may_add_nodes_together(catalog: Catalog, formats: Any, seal: Sealer) -> None:
    seal()
    threads = [
        threading.Thread(target=add, args=(catalog, formats, [f"t{number}-{i}" for i in range(10)]))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(nodes.list_nodes(catalog)) == 40
