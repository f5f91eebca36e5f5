"""The catalog as the server asks it: targets by name and by initiator."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any, ClassVar

import pytest
from goldherd.errors import ImageError
from goldherd.model.access import Address, Kind, Peer, Rule
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.model.nodes import NodeSpec
from goldherd.model.targets import Directory
from goldherd.services import images, nodes
from goldherd.services.context import Services
from goldherd.services.directory import CatalogDirectory

PREFIX = "iqn.2026-11.io.test"
Sealer = Callable[..., VersionRecord]


@pytest.fixture
def directory(services: Services) -> Iterator[CatalogDirectory]:
    opened = CatalogDirectory(services)
    yield opened
    opened.close()


@pytest.fixture
def add(services: Services) -> Callable[..., None]:
    def do(*names: str, image: ImageRef = ImageRef("lab", None), **fields: Any) -> None:  # noqa: B008
        nodes.add(services, names, NodeSpec(image=image, **fields))

    return do


class Network:
    """What a network would tell."""

    MACS: ClassVar = {"10.2.0.1": "52:54:00:00:00:01", "10.2.0.9": "52:54:00:00:00:09"}

    def mac_of(self, address: Address) -> str | None:
        return self.MACS.get(str(address))

    def addresses_of(self, name: str) -> list[Address]:
        return [ip_address("10.3.0.1")] if name == "pc.example.org" else []


def peer(initiator: str, address: str = "192.0.2.1") -> Peer:
    return Peer(initiator, ip_address(address), Network())


def test_directory_is_what_the_server_asks_for(directory: CatalogDirectory) -> None:
    asked: Directory = directory
    assert asyncio.run(asked.discovery_credentials()) is None


def test_target_of_a_node_is_its_disk_over_the_sealed_parent(
    services: Services, directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    version = seal()
    add("pc-1", policy="reset")
    target = asyncio.run(directory.find(f"{PREFIX}:pc-1"))
    assert target is not None
    assert (target.name, target.node, target.policy) == (f"{PREFIX}:pc-1", "pc-1", "reset")
    assert target.access == {Rule(Kind.INITIATOR, f"{PREFIX}.node:pc-1")}
    assert target.credentials is None
    (lun,) = target.luns
    assert (lun.lun, lun.format, lun.parent, lun.parent_format) == (0, "vhd", version.path, "vhd")
    assert lun.path == services.volumes.overlays / "pc-1.lab@1.vhd"
    assert lun.create and not lun.read_only


@pytest.mark.parametrize("name", ["", PREFIX, f"{PREFIX}:", f"{PREFIX}:none", "iqn.2000-01.other:pc-1", f"{PREFIX}:%"])
def test_name_of_no_node_is_no_target(
    directory: CatalogDirectory, add: Callable[..., None], seal: Sealer, name: str
) -> None:
    seal()
    add("pc-1")
    assert asyncio.run(directory.find(name)) is None


def test_initiator_sees_its_own_targets_and_the_open_ones(
    directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("pc-1", "pc-2")
    add("open", rules=("initiator:any",))
    assert [target.node for target in asyncio.run(directory.visible_to(peer(f"{PREFIX}.node:pc-2")))] == [
        "open",
        "pc-2",
    ]
    assert [target.node for target in asyncio.run(directory.visible_to(peer("iqn.2026-11.x:stranger")))] == ["open"]
    opened = asyncio.run(directory.find(f"{PREFIX}:open"))
    assert opened is not None and opened.access is None


def test_rules_by_place_are_judged_for_each_peer(
    directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("net", rules=("net:10.1.0.0/16", "net:2001:db8::/32"))
    add("card", rules=("mac:node", "mac:52:54:00:00:00:09"), macs=("52:54:00:00:00:01",))
    add("name", rules=("dns:pc.example.org", "initiator:iqn.2026-11.x:named"))

    def seen(initiator: str, address: str) -> list[str | None]:
        return [target.node for target in asyncio.run(directory.visible_to(peer(initiator, address)))]

    assert seen("iqn.2026-11.x:a", "10.1.2.3") == ["net"]
    assert seen("iqn.2026-11.x:a", "2001:db8::7") == ["net"]
    assert seen("iqn.2026-11.x:a", "10.2.0.1") == ["card"]  # the card in its own record
    assert seen("iqn.2026-11.x:a", "10.2.0.9") == ["card"]
    assert seen("iqn.2026-11.x:a", "10.3.0.1") == ["name"]
    assert seen("iqn.2026-11.x:named", "10.1.0.1") == ["name", "net"]
    assert seen("iqn.2026-11.x:a", "10.9.9.9") == []


def test_node_added_later_is_found_at_once(directory: CatalogDirectory, add: Callable[..., None], seal: Sealer) -> None:
    seal()
    assert asyncio.run(directory.find(f"{PREFIX}:pc-1")) is None
    add("pc-1")
    assert asyncio.run(directory.find(f"{PREFIX}:pc-1")) is not None


def test_login_after_activation_gets_the_new_version(
    services: Services, directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("pc-1")
    second = seal()
    images.activate(services, ImageRef("lab", 2))
    target = asyncio.run(directory.find(f"{PREFIX}:pc-1"))
    assert target is not None
    assert target.luns[0].parent == second.path
    assert target.luns[0].path.name == "pc-1.lab@2.vhd"


def test_node_without_an_active_version_has_no_target(
    services: Services, directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("pc-1")
    with services.catalog.write() as connection:
        connection.exec_driver_sql("UPDATE versions SET state = 'retired'")
    assert asyncio.run(directory.find(f"{PREFIX}:pc-1")) is None
    assert asyncio.run(directory.visible_to(peer(f"{PREFIX}.node:pc-1"))) == []


def test_credentials_come_with_the_target(
    services: Services, directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("pc-1", chap_user="user", chap_secret=b"secret-secret")
    target = asyncio.run(directory.find(f"{PREFIX}:pc-1"))
    assert target is not None and target.credentials is not None
    assert (target.credentials.user, target.credentials.secret) == ("user", b"secret-secret")
    assert "secret-secret" not in repr(target)


def test_target_whose_secret_is_lost_is_closed_not_open(
    services: Services, directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("pc-1", chap_user="user", chap_secret=b"secret-secret")
    (services.volumes.secrets / "pc-1").unlink()
    assert asyncio.run(directory.find(f"{PREFIX}:pc-1")) is None


def test_discovery_reads_no_secret(
    services: Services, directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("pc-1", chap_user="user", chap_secret=b"secret-secret")
    (services.volumes.secrets / "pc-1").unlink()
    (services.volumes.secrets / "pc-1").mkdir()  # whoever reads it fails
    (shown,) = asyncio.run(directory.visible_to(peer(f"{PREFIX}.node:pc-1")))
    assert (shown.name, shown.alias) == (f"{PREFIX}:pc-1", "pc-1 on lab@1")


def test_login_does_not_wait_for_a_long_list(
    directory: CatalogDirectory, add: Callable[..., None], seal: Sealer
) -> None:
    seal()
    add("listed", rules=("mac:52:54:00:00:00:09",))
    add("pc-1")
    listing, found = threading.Event(), threading.Event()

    class SlowNetwork(Network):
        def mac_of(self, address: Address) -> str | None:
            listing.set()
            assert found.wait(10)
            return None

    async def both() -> None:
        list_of_all = asyncio.ensure_future(
            directory.visible_to(Peer("iqn.2026-11.x:a", ip_address("10.0.0.1"), SlowNetwork()))
        )
        await asyncio.to_thread(listing.wait, 10)
        assert await directory.find(f"{PREFIX}:pc-1") is not None
        found.set()
        await list_of_all

    asyncio.run(both())


def test_login_is_noted_with_time_and_address(services: Services, add: Callable[..., None], seal: Sealer) -> None:
    seal()
    add("pc-1", "pc-2")
    directory = CatalogDirectory(services)
    directory.node_seen(f"{PREFIX}:pc-1", f"{PREFIX}.node:pc-1", "10.0.0.7")
    directory.close()
    seen = {node.name: node.seen_address for node in nodes.list_nodes(services)}
    assert seen == {"pc-1": "10.0.0.7", "pc-2": None}
    assert nodes.list_nodes(services)[0].seen_at is not None


def test_login_does_not_wait_for_a_writer(services: Services, add: Callable[..., None], seal: Sealer) -> None:
    seal()
    add("pc-1")
    directory = CatalogDirectory(services)
    with services.catalog.write() as connection:
        connection.exec_driver_sql("UPDATE nodes SET policy = 'reset'")
        directory.node_seen(f"{PREFIX}:pc-1", f"{PREFIX}.node:pc-1", "10.0.0.7")
        target = asyncio.run(directory.find(f"{PREFIX}:pc-1"))
        assert target is not None and target.policy == "keep"
    directory.close()
    assert nodes.list_nodes(services)[0].seen_address == "10.0.0.7"


def test_sealed_parent_is_given_out_unchanged_only(
    directory: CatalogDirectory, seal: Sealer, make_vhd: Callable[..., Any]
) -> None:
    base = make_vhd("base.vhd")
    first = seal("base", base)
    second = seal("patch", make_vhd("patch.vhd", parent=base))
    found = directory.sealed(second.path)
    assert (found.name, found.format, found.parent) == ("patch@1", "vhd", first.path)
    os.utime(first.path, ns=(1, 1))
    with pytest.raises(ImageError, match="base@1 can't be used"):
        directory.sealed(first.path)
    with pytest.raises(ImageError, match="not a sealed image"):
        directory.sealed(base)
