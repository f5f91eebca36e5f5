"""node.check: what is wrong with the disks of nodes, and the end of a failure."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from goldherd.errors import CatalogError, ErrorKind
from goldherd.files.failed import MARK, failure_of, find_mark, mark
from goldherd.files.locks import open_locked
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.model.nodes import NodeSpec
from goldherd.services import nodes, operations, requests
from goldherd.services.answers import CheckedDisk
from goldherd.services.context import Services


@pytest.fixture
def overlay(services: Services, seal: Callable[..., VersionRecord]) -> Path:
    """The disk of the node pc-1; there is a pc-2 too."""
    seal("lab")
    nodes.add(services, ["pc-1", "pc-2"], NodeSpec(image=ImageRef("lab", None)))
    (found,) = services.volumes.overlays.glob("pc-1.*")
    return found


def fail(path: Path, number: int = errno.EIO) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    assert mark(descriptor, failure_of(number)).marked
    os.close(descriptor)


def check(services: Services, *names: str, clear: bool = False) -> list[CheckedDisk]:
    request = requests.CheckNodes(names or ("pc-1",), clear)
    return list(operations.run(services, "node.check", request))


def test_a_sound_disk_is_read_and_left_alone(services: Services, overlay: Path) -> None:
    before = overlay.read_bytes()
    (disk,) = check(services, clear=True)
    assert disk == CheckedDisk("pc-1", str(overlay), None, (), len(before), False)
    assert overlay.read_bytes() == before


def test_a_failed_disk_stays_failed_until_it_is_cleared(services: Services, overlay: Path) -> None:
    fail(overlay, errno.ENOSPC)
    (shown,) = nodes.list_nodes(services, ["pc-1"])
    assert shown.failed is not None and "ENOSPC" in shown.failed
    for clear in (False, True):
        (disk,) = check(services, clear=clear)
        assert disk.failure == shown.failed and disk.cleared is clear
    assert find_mark(overlay) is None
    assert nodes.list_nodes(services, ["pc-1"])[0].failed is None


def test_a_damaged_disk_is_not_cleared(services: Services, overlay: Path) -> None:
    fail(overlay)
    with overlay.open("r+b") as file:
        file.seek(512)
        file.write(b"x" * 1024)
    (disk,) = check(services, clear=True)
    assert disk.faults and not disk.cleared
    assert find_mark(overlay) is not None


def test_a_disk_in_use_is_refused_by_the_name_of_its_node(services: Services, overlay: Path) -> None:
    descriptor = open_locked(overlay, "rw")
    try:
        with pytest.raises(CatalogError, match=r"^pc-1 can't be checked: its disk is in use; shut") as refusal:
            check(services, "pc-1")
        assert refusal.value.kind is ErrorKind.IN_USE
        assert len(check(services, "pc-2")) == 1
    finally:
        os.close(descriptor)


def test_a_fresh_disk_carries_no_mark(services: Services, overlay: Path) -> None:
    fail(overlay)
    nodes.reset(services, ["pc-1"])
    assert find_mark(overlay) is None
    assert nodes.list_nodes(services, ["pc-1"])[0].failed is None


@pytest.mark.parametrize("text", [b"", b"\xff\x00", b"EIO", b"99999 2020-01-01T00:00:00Z"])
def test_a_strange_mark_is_still_a_mark(services: Services, overlay: Path, text: bytes) -> None:
    os.setxattr(overlay, MARK, text)
    (disk,) = check(services, clear=True)
    assert disk.failure and disk.cleared


def test_a_file_that_can_not_be_asked_is_said_to_be_so(
    services: Services, overlay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.getxattr

    def broken(path: Any, *rest: Any) -> bytes:
        if path == overlay:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *rest)

    monkeypatch.setattr(os, "getxattr", broken)
    (shown,) = nodes.list_nodes(services, ["pc-1"])
    assert shown.failed == "its file can't be asked (Input/output error)"


def test_a_disk_that_is_gone_is_an_error(services: Services, overlay: Path) -> None:
    overlay.unlink()
    with pytest.raises(CatalogError, match="disk of pc-1 on lab@1 was there before and is gone") as refusal:
        check(services, "pc-1", "pc-2")
    assert refusal.value.kind is ErrorKind.ABSENT
    assert [disk.node for disk in check(services, "pc-2")] == ["pc-2"]
