"""Access by place, with real networks: namespaces with cables between them, real ARP, real name look-ups."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.process import Process
from tests.support.targets import GOLDHERD, PREFIX
from tests.target.daemon import Herd, goldherd, refused

SERVER, CLIENT = "10.91.0.1", "10.91.0.2"
SERVER_6, CLIENT_6 = "fd91::1", "fd91::2"
CLIENT_MAC = "52:54:00:91:00:02"
OTHER_MAC = "52:54:00:91:00:03"
STRANGER = "iqn.2020-01.com.example:stranger"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Lan:
    """Two hosts with a cable between them; `server` and `client` are network namespaces."""

    server: str
    client: str
    hosts: Path
    """The server's hosts file, which stands for DNS."""

    @contextmanager
    def serve(self, herd: Herd) -> Iterator[Process]:
        """`goldherd serve` on the server, for IPv4 and IPv6."""
        listen = ("--listen", f"{SERVER}:3260", "--listen", f"[{SERVER_6}]:3260")
        command = ["ip", "netns", "exec", self.server, *GOLDHERD, "--data", str(herd.data), "serve", *listen]
        process = Process(command, herd.data.parent / "serve.log")
        try:
            process.read_line("ready ")
            process.read_line("ready ")
            yield process
        finally:
            process.stop()

    def inquire(self, node: str, address: str = SERVER) -> bool:
        """Whether the client, under a name that nobody knows, gets at a node's disk (iscsi-inq)."""
        place = f"[{address}]" if ":" in address else address
        url = f"iscsi://{place}:3260/{PREFIX}:{node}/0"
        command = ["ip", "netns", "exec", self.client, "iscsi-inq", "--initiator-name", STRANGER, url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return "GOLDHERD" in ended.stdout

    def discover(self) -> list[str]:
        """The nodes that discovery shows the client."""
        command = [
            "ip",
            "netns",
            "exec",
            self.client,
            "iscsi-ls",
            "--initiator-name",
            STRANGER,
            f"iscsi://{SERVER}:3260",
        ]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return sorted({word.removeprefix(f"Target:{PREFIX}:") for word in found.split() if word.startswith("Target:")})


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Lan]:
    """The two hosts, for one test; root makes them."""
    names = f"gh-server-{tmp_path.name[-12:]}", f"gh-client-{tmp_path.name[-12:]}"
    hosts = Path("/etc/netns") / names[0] / "hosts"  # `ip netns exec` mounts it over /etc/hosts
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "lan", "netns", names[0], "type", "veth", "peer", "name", "lan", "netns", names[1])
        ip("-n", names[1], "link", "set", "lan", "address", CLIENT_MAC)
        for name, four, six in ((names[0], SERVER, SERVER_6), (names[1], CLIENT, CLIENT_6)):
            ip("-n", name, "address", "add", f"{four}/24", "dev", "lan")
            ip("-n", name, "address", "add", f"{six}/64", "dev", "lan", "nodad")
            ip("-n", name, "link", "set", "lan", "up")
        hosts.parent.mkdir(parents=True)
        hosts.write_text("127.0.0.1 localhost\n")
        yield Lan(*names, hosts)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        hosts.unlink(missing_ok=True)
        if hosts.parent.exists():
            hosts.parent.rmdir()


@pytest.mark.interop
def test_nodes_are_found_by_place(herd: Herd, lan: Lan) -> None:
    """Each of the kinds, once for a client that fits and once for one that does not; discovery shows the same."""
    lan.hosts.write_text(f"127.0.0.1 localhost\n{CLIENT} pc.example.org\n10.91.0.77 other.example.org\n")
    rules = {
        "net-yes": ("net:10.91.0.0/24",),
        "net-no": ("net:10.92.0.0/24",),
        "mac-yes": (f"mac:{CLIENT_MAC}",),
        "mac-no": (f"mac:{OTHER_MAC}",),
        "dns-yes": ("dns:pc.example.org",),
        "dns-no": ("dns:other.example.org", "dns:nobody.example.org"),
        "six-yes": (f"net:{CLIENT_6}",),
    }
    for node, texts in rules.items():
        herd.do("node", "add", node, "--image", "lab", *(word for text in texts for word in ("--allow", text)))
    herd.do("node", "add", "own-yes", "--image", "lab", "--mac", CLIENT_MAC, "--allow", "mac:node")
    herd.do("node", "add", "own-no", "--image", "lab", "--mac", OTHER_MAC, "--allow", "mac:node")
    with lan.serve(herd) as process:
        for node in (*rules, "own-yes", "own-no"):
            assert lan.inquire(node) is (node.endswith("yes") and node != "six-yes"), node
        assert lan.inquire("six-yes", SERVER_6)
        assert lan.inquire("mac-yes", SERVER_6)
        assert not lan.inquire("net-yes", SERVER_6)
        assert lan.discover() == ["dns-yes", "mac-yes", "net-yes", "own-yes"]
        log = process.log.read_text()
    for words in (
        f"address {CLIENT}; admitted is net:10.92.0.0/24",
        f"address {CLIENT}, MAC {CLIENT_MAC}; admitted is mac:{OTHER_MAC}",
        "admitted is dns:nobody.example.org (no address) or dns:other.example.org (10.91.0.77)",
    ):
        assert words in log, words


@pytest.mark.interop
def test_a_name_that_moves_is_followed(herd: Herd, lan: Lan) -> None:
    """Its addresses are remembered for a while only; a name that failed, for less."""
    herd.do("node", "add", "named", "--image", "lab", "--allow", "dns:pc.example.org")
    with lan.serve(herd):
        assert not lan.inquire("named")
        lan.hosts.write_text(f"{CLIENT} pc.example.org\n")
        deadline = time.monotonic() + 30
        while not lan.inquire("named"):
            assert time.monotonic() < deadline, "the name's new address was never looked up"
            time.sleep(0.5)


def test_rules_are_shown_and_changed(herd: Herd) -> None:
    rules = ("--allow", "net:10.0.0.0/8", "--allow", "dns:Pc.Example.org", "--initiator", STRANGER)
    herd.do("node", "set", "pc-001", *rules)
    shown = json.loads(herd.do("node", "show", "pc-001", "--json"))
    assert shown["rules"] == ["dns:pc.example.org", f"initiator:{STRANGER}", "net:10.0.0.0/8"]
    assert shown["initiators"] == [STRANGER]
    assert f"dns:pc.example.org {STRANGER} net:10.0.0.0/8" in herd.do("node", "show", "pc-001")
    herd.do("node", "set", "pc-001", "--allow", "any")
    assert json.loads(herd.do("node", "show", "pc-001", "--json"))["rules"] == ["initiator:any"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("10.0.0.0/8", "'10.0.0.0/8' is no access rule"),
        ("net:10.0.0.1/8", "'10.0.0.1/8' is neither an address nor a network"),
        ("mac:01:00:00:00:00:01", "is a group address"),
    ],
)
def test_a_rule_that_can_not_be_is_refused_in_one_sentence(herd: Herd, rule: str, words: str) -> None:
    assert words in refused(herd.run("node", "set", "pc-001", "--allow", rule))
    assert words in refused(goldherd("--data", herd.data, "export", herd.golden, "--allow", rule))


def test_an_exported_file_has_no_card_of_its_own(herd: Herd) -> None:
    assert "goes with nodes" in refused(goldherd("--data", herd.data, "export", herd.golden, "--allow", "mac:node"))
