"""What the daemon's watch over golden files notices, tells once, and lets pass."""

import os
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from goldherd.catalog.store import now
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.services import images
from goldherd.services.context import Services
from goldherd.services.goldens import watch as module
from goldherd.services.goldens.verifying import verify
from goldherd.services.goldens.watch import REPLACED, GoldenWatch
from structlog.testing import capture_logs

from tests.services.test_images import quiet

Sealer = Callable[..., VersionRecord]
LAB = ImageRef("lab", 1)


class Machines:
    """Running nodes, by the golden file that their disks lie on."""

    def __init__(self) -> None:
        self.files: dict[Path, list[str]] = {}

    def readers(self) -> Mapping[Path, Collection[str]]:
        return self.files


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def touched() -> list[str]:
    return []


@pytest.fixture
def watch(services: Services, machines: Machines, touched: list[str]) -> GoldenWatch:
    return GoldenWatch(services, machines, touched.append)


def changed(services: Services, number: int = 1) -> str | None:
    return images.get_version(services, ImageRef("lab", number)).changed


def test_untouched_files_are_no_news(watch: GoldenWatch, services: Services, seal: Sealer) -> None:
    seal()
    with capture_logs() as told:
        watch.look()
        watch.look()
    assert watch.status() == [] and told == [] and changed(services) is None


@pytest.mark.parametrize(
    ("touch", "how"),
    [
        (lambda path: os.utime(path, ns=(1, 1)), "its modification time differs"),
        (lambda path: os.truncate(path, 4096), "its size differs"),
    ],
)
def test_change_is_noted_and_told_once_with_the_nodes_that_read_it(
    watch: GoldenWatch,
    services: Services,
    machines: Machines,
    seal: Sealer,
    touch: Callable[[Path], None],
    how: str,
) -> None:
    version = seal()
    machines.files[version.path] = ["pc-2", "pc-1"]
    watch.look()
    touch(version.path)
    with capture_logs() as told:
        watch.look()
        watch.look()
    (line,) = told
    assert (line["version"], line["reason"], line["nodes"]) == ("lab@1", how, ["pc-1", "pc-2"])
    assert changed(services) == how
    (fault,) = watch.status()
    assert (fault["kind"], fault["reason"], fault["nodes"]) == ("changed", how, ["pc-1", "pc-2"])
    assert fault["path"] == str(version.path) and fault["since"] <= now()


def test_version_that_was_found_right_is_told_of_no_more(watch: GoldenWatch, services: Services, seal: Sealer) -> None:
    version = seal()
    os.utime(version.path, ns=(1, 1))
    watch.look()
    verify(services, LAB, quiet)
    with capture_logs() as told:
        watch.look()
    assert watch.status() == [] and [line["version"] for line in told] == ["lab@1"]
    os.utime(version.path, ns=(2, 2))
    watch.look()
    assert len(watch.status()) == 1 and images.get_version(services, LAB).times_changed == 2


def test_change_that_another_process_found_is_told(watch: GoldenWatch, services: Services, seal: Sealer) -> None:
    version = seal()
    watch.look()
    module.note_changed(services, version, "its content is another")
    watch.look()
    assert watch.status()[0]["reason"] == "its content is another"


def test_file_that_took_the_place_of_one_in_use_is_a_change(
    watch: GoldenWatch, services: Services, machines: Machines, seal: Sealer
) -> None:
    """Size, times and content are the same; the machines read the file that has no name any more."""
    version = seal()
    watch.look()
    replace_by_a_copy(version.path)
    watch.look()
    assert changed(services) is None, "no machine reads from it, so it is like any restored file"
    machines.files[version.path] = ["pc-1"]
    watch.look()
    replace_by_a_copy(version.path)
    watch.look()
    assert changed(services) == REPLACED
    verify(services, LAB, quiet)
    watch.look()
    watch.look()
    assert changed(services) is None and watch.status() == []


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name(".copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def test_missing_file_is_told_and_used_again_when_it_is_back(
    watch: GoldenWatch, services: Services, seal: Sealer
) -> None:
    version = seal()
    away = version.path.with_name("away")
    version.path.rename(away)
    with capture_logs() as told:
        watch.look()
        watch.look()
    assert len(told) == 1 and watch.status()[0]["kind"] == "absent"
    away.rename(version.path)
    watch.look()
    assert watch.status() == [] and changed(services) is None


def test_nodes_on_a_differencing_image_read_from_its_parent(
    watch: GoldenWatch,
    machines: Machines,
    seal: Sealer,
    make_vhd: Callable[..., Path],
) -> None:
    parent = seal(source=make_vhd("parent.vhd"))
    child = seal("child", source=make_vhd("child.vhd", parent=parent.path))
    machines.files[child.path] = ["pc-1"]
    watch.look()
    os.utime(parent.path, ns=(1, 1))
    watch.look()
    (fault,) = watch.status()
    assert (fault["version"], fault["nodes"]) == ("lab@1", ["pc-1"])


def test_file_that_is_left_alone_after_a_change_is_to_be_verified(
    watch: GoldenWatch, seal: Sealer, touched: list[str]
) -> None:
    version = seal()
    for time_ns in (1, 2, 3):
        os.utime(version.path, ns=(time_ns, time_ns))
        watch.look()
        assert touched == []
    watch.look()
    assert touched == ["lab@1"]
    watch.look()
    assert touched == ["lab@1"]
    os.utime(version.path, ns=(4, 4))
    watch.look()
    watch.look()
    assert touched == ["lab@1", "lab@1"], "a restore that comes later"


def test_folder_that_hangs_keeps_nothing_else_waiting(
    watch: GoldenWatch,
    services: Services,
    seal: Sealer,
    make_vhd: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    seal()
    source = make_vhd()
    elsewhere = tmp_path / "hung"
    elsewhere.mkdir()
    hung = seal("far", source=source.rename(elsewhere / source.name), in_place=True)
    answer = threading.Event()
    asked: list[str] = []
    find_change = module.find_change

    def hangs(version: VersionRecord) -> str | None:
        asked.append(version.name)
        if version.name == "far@1":
            answer.wait()
        return find_change(version)

    monkeypatch.setattr(module, "find_change", hangs)
    monkeypatch.setattr(module, "WATCH_PATIENCE_SECONDS", 0.2)
    watch.look()
    os.utime(images.get_version(services, LAB).path, ns=(1, 1))
    watch.look()
    assert asked.count("far@1") == 1, "a folder that has not answered is not asked again"
    faults: dict[str, Any] = {fault["version"]: fault for fault in watch.status()}
    assert faults["lab@1"]["kind"] == "changed"
    assert "does not answer" in faults["far@1"]["reason"]
    assert images.get_version(services, hung.ref).changed is None
    answer.set()
    monkeypatch.setattr(module, "WATCH_PATIENCE_SECONDS", 60.0)
    watch.look()
    watch.look()
    assert [fault["version"] for fault in watch.status()] == ["lab@1"]


def test_removed_version_is_forgotten(watch: GoldenWatch, services: Services, seal: Sealer) -> None:
    version = seal()
    os.utime(version.path, ns=(1, 1))
    watch.look()
    images.remove(services, LAB)
    watch.look()
    assert watch.status() == []
