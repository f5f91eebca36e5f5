"""Every field of every request has an effect: each is asked for through the table, on a data folder of its own."""

import dataclasses
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from goldherd import Place
from goldherd.errors import ErrorKind, GoldherdError
from goldherd.files.failed import failure_of, mark
from goldherd.model.nodes import Quota
from goldherd.services.context import Services
from goldherd.services.operations import BY_NAME, TABLE, run

Effect = Callable[["Herd"], None]
EFFECTS: Final[dict[str, Effect]] = {}
"""`operation/field` to the function that shows what the field does."""


class Herd(NamedTuple):
    """The image lab with two versions, spare with one, and the nodes pc-1 to pc-3 that follow lab."""

    services: Services
    folder: Path
    raw: Callable[..., Path]
    vhd: Callable[..., Path]

    def ask(self, operation: str, **fields: Any) -> Any:
        """What the operation answers to a request with these fields."""
        return run(self.services, operation, BY_NAME[operation].request(**fields))

    def node(self, name: str) -> Any:
        """A node's record."""
        return self.ask("node.show", nodes=(name,))[0]

    def refusal(self, operation: str, **fields: Any) -> ErrorKind:
        """The kind of the refusal."""
        with pytest.raises(GoldherdError) as refused:
            self.ask(operation, **fields)
        return refused.value.kind


@pytest.fixture
def herd(services: Services, tmp_path: Path, make_raw: Callable[..., Path], make_vhd: Callable[..., Path]) -> Herd:
    made = Herd(services, tmp_path, make_raw, make_vhd)
    for name in ("lab", "lab", "spare"):
        made.ask("image.import", file=str(make_raw()), name=name)
    made.ask("node.add", nodes=("pc-[1-3]",), image="lab")
    return made


def effect(*names: str) -> Callable[[Effect], Effect]:
    """Marks the function that shows the effect of these fields, each `operation/field`."""

    def keep(function: Effect) -> Effect:
        for name in names:
            assert name not in EFFECTS
            EFFECTS[name] = function
        return function

    return keep


# --- images ---


@effect("image.import/file", "image.import/name")
def _(herd: Herd) -> None:
    disk = herd.raw("other.raw", 2 << 20)
    made = herd.ask("image.import", file=str(disk), name="Other")
    assert (made.name, made.size_bytes) == ("other@1", 2 << 20)


@effect("image.import/in_place")
def _(herd: Herd) -> None:
    disk = herd.vhd()
    made = herd.ask("image.import", file=str(disk), name="x", in_place=True)
    assert made.in_place and made.path == disk


@effect("image.import/format")
def _(herd: Herd) -> None:
    disk = herd.vhd("named.img")
    sizes = [herd.ask("image.import", file=str(disk), name="x", format=name).size_bytes for name in ("vhd", "raw")]
    assert sizes == [1 << 20, (1 << 20) + 512]


@effect("image.import/parent")
def _(herd: Herd) -> None:
    """The file that the child names as its parent is gone."""
    lab = herd.ask("image.show", version="lab@1").version
    copy = herd.folder / "elsewhere" / "copy.vhd"
    copy.parent.mkdir()
    copy.write_bytes(lab.path.read_bytes())
    child = herd.folder / "child.vhd"
    herd.services.formats.create(f"vhd:{child}", lab.size_bytes, Place("vhd", str(copy)))
    copy.unlink()
    assert herd.ask("image.import", file=str(child), name="x", parent="lab@1").parent == "lab@1"
    assert herd.refusal("image.import", file=str(child), name="x", parent="spare@1")


@effect("image.import/filters")
def _(herd: Herd) -> None:
    made = herd.ask("image.import", file=str(herd.raw()), name="x", filters=("delay:ms=0",))
    assert made.filters == ("delay:ms=0",)
    assert herd.refusal("image.import", file=str(herd.raw()), name="x", filters=("zebra",))


@effect("image.list/image")
def _(herd: Herd) -> None:
    assert [version.name for version in herd.ask("image.list", image="spare")] == ["spare@1"]
    assert len(herd.ask("image.list")) == 3


@effect("image.show/version")
def _(herd: Herd) -> None:
    assert herd.ask("image.show", version="lab@2").version.name == "lab@2"
    assert herd.ask("image.show", version="lab").nodes == ("pc-1", "pc-2", "pc-3")


@effect("image.find/file")
def _(herd: Herd) -> None:
    link = herd.folder / "link"
    link.symlink_to(herd.ask("image.show", version="lab@2").version.path)
    found = herd.ask("image.find", file=str(link))
    assert found.version.name == "lab@2" and found.write_protected
    other = herd.ask("image.find", file=str(herd.raw("other.raw")))
    assert (other.version, other.write_protected) == (None, False)
    assert herd.refusal("image.find", file=str(herd.folder / "none")) == ErrorKind.NOT_FOUND


@effect("image.verify/version")
def _(herd: Herd) -> None:
    os.utime(herd.ask("image.show", version="lab@2").version.path)
    assert [herd.ask("image.verify", version=name).seal_renewed for name in ("lab@1", "lab@2")] == [False, True]


@effect("image.activate/version")
def _(herd: Herd) -> None:
    assert herd.ask("image.activate", version="lab@2").changed
    assert herd.ask("image.show", version="lab").version.name == "lab@2"


@effect("image.retire/version")
def _(herd: Herd) -> None:
    assert herd.ask("image.retire", version="lab@2").changed
    assert herd.ask("image.show", version="lab@2").version.state == "retired"


@effect("image.remove/version", "image.remove/dry_run")
def _(herd: Herd) -> None:
    assert herd.ask("image.remove", version="lab@2", dry_run=True).dry_run
    assert len(herd.ask("image.list", image="lab")) == 2
    assert herd.ask("image.remove", version="lab@2").names == ("lab@2",)
    assert len(herd.ask("image.list", image="lab")) == 1


@effect("image.remove/all_versions")
def _(herd: Herd) -> None:
    assert herd.refusal("image.remove", version="spare") == ErrorKind.UNCONFIRMED
    assert herd.ask("image.remove", version="spare", all_versions=True).names == ("spare@1",)


# --- nodes ---


@effect("node.add/nodes", "node.add/image")
def _(herd: Herd) -> None:
    assert herd.ask("node.add", nodes=("x-[1-2]", "y"), image="lab@2").created == ("x-1", "x-2", "y")
    assert (herd.node("y").image, herd.node("y").version, herd.node("y").pinned) == ("lab", 2, True)


@effect("node.add/policy", "node.add/rules", "node.add/macs", "node.add/chap_user", "node.add/chap_secret")
def _(herd: Herd) -> None:
    fields: dict[str, Any] = {"policy": "reset", "rules": ("net:10.0.0.0/8", "any"), "macs": ("52:54:00:00:00:01",)}
    herd.ask("node.add", nodes=("x",), image="lab", chap_user="u", chap_secret=b"a-secret-of-ours", **fields)
    _has_everything(herd, "x")


@effect("node.set/nodes", "node.set/image")
def _(herd: Herd) -> None:
    assert herd.ask("node.set", nodes=("pc-[2-3]",), image="lab@2").changed == ("pc-2", "pc-3")
    assert [herd.node(name).version for name in ("pc-1", "pc-2")] == [1, 2]


@effect("node.set/policy", "node.set/rules", "node.set/macs", "node.set/chap_user", "node.set/chap_secret")
def _(herd: Herd) -> None:
    fields: dict[str, Any] = {"policy": "reset", "rules": ("net:10.0.0.0/8", "any"), "macs": ("52:54:00:00:00:01",)}
    herd.ask("node.set", nodes=("pc-1",), chap_user="u", chap_secret=b"a-secret-of-ours", **fields)
    _has_everything(herd, "pc-1")
    herd.ask("node.set", nodes=("pc-1",), macs=())
    assert herd.node("pc-1").macs == ()


@effect("node.set/without_chap")
def _(herd: Herd) -> None:
    herd.ask("node.set", nodes=("pc-1",), chap_user="u", chap_secret=b"a-secret-of-ours")
    herd.ask("node.set", nodes=("pc-1",), without_chap=True)
    assert herd.node("pc-1").chap_user is None and not herd.services.volumes.secret("pc-1").exists()


@effect("node.set/quota_soft", "node.set/quota_hard")
def _(herd: Herd) -> None:
    herd.ask("node.set", nodes=("pc-1",), quota_soft="1G", quota_hard="2G")
    assert herd.node("pc-1").quota == Quota(1 << 30, 2 << 30)
    herd.ask("node.set", nodes=("pc-1",), quota_soft="none")
    assert herd.node("pc-1").quota == Quota(0, 2 << 30)


def _has_everything(herd: Herd, name: str) -> None:
    node = herd.node(name)
    assert (node.policy, node.macs, node.chap_user) == ("reset", ("52:54:00:00:00:01",), "u")
    assert set(node.rules) == {"net:10.0.0.0/8", "initiator:any"}
    assert herd.services.volumes.secret(name).read_bytes() == b"a-secret-of-ours"


@effect("node.list/nodes", "node.show/nodes")
def _(herd: Herd) -> None:
    assert [node.name for node in herd.ask("node.list", nodes=("pc-[2-3]",))] == ["pc-2", "pc-3"]
    assert len(herd.ask("node.list")) == 3
    assert [node.name for node in herd.ask("node.show", nodes=("pc-1", "pc-3"))] == ["pc-1", "pc-3"]


@effect("node.check/nodes", "node.check/clear")
def _(herd: Herd) -> None:
    descriptor = os.open(herd.node("pc-1").overlay, os.O_RDONLY)
    mark(descriptor, failure_of(errno.EIO))
    os.close(descriptor)
    assert [disk.node for disk in herd.ask("node.check", nodes=("pc-[2-3]",))] == ["pc-2", "pc-3"]
    for clear in (False, True):
        (disk,) = herd.ask("node.check", nodes=("pc-1",), clear=clear)
        assert disk.failure is not None and disk.cleared is clear
    assert herd.node("pc-1").failed is None


@effect("node.reset/nodes", "node.reset/dry_run")
def _(herd: Herd) -> None:
    disks = {name: herd.node(name).overlay for name in ("pc-1", "pc-2")}
    before = {name: disk.stat().st_ino for name, disk in disks.items()}
    assert herd.ask("node.reset", nodes=("pc-1",), dry_run=True).files == (str(disks["pc-1"]),)
    assert before == {name: disk.stat().st_ino for name, disk in disks.items()}
    herd.ask("node.reset", nodes=("pc-1",))
    assert [before[name] == disk.stat().st_ino for name, disk in disks.items()] == [False, True]


@effect("node.remove/nodes", "node.remove/dry_run")
def _(herd: Herd) -> None:
    assert herd.ask("node.remove", nodes=("pc-1",), dry_run=True).names == ("pc-1",)
    assert len(herd.ask("node.list")) == 3
    herd.ask("node.remove", nodes=("pc-1",))
    assert [node.name for node in herd.ask("node.list")] == ["pc-2", "pc-3"]


# --- the installation ---


@effect("plugins/names")
def _(herd: Herd) -> None:
    assert [plugin.record.name for plugin in herd.ask("plugins", names=("vhd",))] == ["vhd"]
    assert len(herd.ask("plugins")) > 1
    assert herd.refusal("plugins", names=("zebra",)) == ErrorKind.NOT_FOUND


@effect("names/kind", "names/beginning")
def _(herd: Herd) -> None:
    assert herd.ask("names", kind="node", beginning="PC-") == ("pc-1", "pc-2", "pc-3")
    assert herd.ask("names", kind="image") == ("lab", "spare")
    assert herd.ask("names", kind="version", beginning="lab@") == ("lab@1", "lab@2")
    assert herd.ask("names", kind="format", beginning="vhd") == ("vhd", "vhd-fixed")
    assert herd.ask("names", kind="filter") == ("delay", "error")
    assert "auth_chap" in herd.ask("names", kind="plugin")
    assert herd.refusal("names", kind="zebra") == ErrorKind.INVALID


class Daemon:
    """A process that runs until it is asked to stop, and says that a node runs from it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "3600"])
        self.draining = False

    def status(self) -> dict[str, Any] | None:
        sessions = [{"node": "pc-1", "state": "logged in"}, {"target": "iqn.x:pc-1", "state": "discovery"}]
        return {"pid": self.process.pid, "draining": self.draining, "sessions": sessions}

    def drain(self, on: bool) -> dict[str, Any] | None:
        self.draining = on
        return self.status()

    def ask_to_stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@effect("drain/off")
def _(herd: Herd) -> None:
    daemon = herd.services.live = Daemon()
    on, off = herd.ask("drain"), herd.ask("drain", off=True)
    daemon.ask_to_stop()
    assert [(done.draining, done.nodes, done.safe) for done in (on, off)] == [
        (True, ("pc-1",), False),
        (False, ("pc-1",), False),
    ]


@effect("stop/force")
def _(herd: Herd) -> None:
    daemon = herd.services.live = Daemon()
    try:
        assert herd.refusal("stop") == ErrorKind.IN_USE
        done = herd.ask("stop", force=True)
        assert (done.pid, done.nodes) == (daemon.process.pid, ("pc-1",))
        assert daemon.process.poll() is not None
    finally:
        daemon.ask_to_stop()


@effect("doctor.rebuild_catalog/dry_run")
def _(herd: Herd) -> None:
    assert herd.ask("doctor.rebuild_catalog", dry_run=True).moved_aside is None
    assert herd.ask("doctor.rebuild_catalog").moved_aside is not None


FIELDS: Final = [
    f"{operation.name}/{field.name}" for operation in TABLE for field in dataclasses.fields(operation.request)
]


@pytest.mark.parametrize("field", FIELDS)
def test_field_of_a_request_has_an_effect(herd: Herd, field: str) -> None:
    EFFECTS[field](herd)


def test_no_effect_is_told_of_a_field_that_is_gone() -> None:
    assert EFFECTS.keys() <= set(FIELDS)


@pytest.mark.parametrize("secret", [b"", b"two\nlines", b"nul\0byte", b"x" * 10_000])
def test_secret_that_can_be_none_is_refused(herd: Herd, secret: bytes) -> None:
    assert herd.refusal("node.set", nodes=("pc-1",), chap_user="u", chap_secret=secret) == ErrorKind.INVALID
