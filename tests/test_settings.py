"""Settings: addresses, sizes, times, and where each came from."""

import os
from pathlib import Path

import pytest
from goldherd.environment import default_data_folder
from goldherd.errors import SettingsError
from goldherd.settings import (
    Address,
    ServeSettings,
    memory_bytes,
    server_settings,
    spare_cores,
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GOLDHERD_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("0.0.0.0:3260", Address("0.0.0.0", 3260), "0.0.0.0:3260"),
        ("127.0.0.1:0", Address("127.0.0.1", 0), "127.0.0.1:0"),
        ("boot.example.org", Address("boot.example.org", 3260), "boot.example.org:3260"),
        ("[::]:860", Address("::", 860), "[::]:860"),
        ("[fe80::1%eth0]", Address("fe80::1%eth0", 3260), "[fe80::1%eth0]:3260"),
        ("10.0.0.1:3260,2", Address("10.0.0.1", 3260, 2), "10.0.0.1:3260"),
        ("10.0.0.1,65535", Address("10.0.0.1", 3260, 65535), "10.0.0.1:3260"),
        ("[::1]:860,3", Address("::1", 860, 3), "[::1]:860"),
        (
            "10.0.0.1:3260,2=san.example.org:13260",
            Address("10.0.0.1", 3260, 2, Address("san.example.org", 13260)),
            "10.0.0.1:3260",
        ),
    ],
)
def test_address_is_read_and_written(text: str, address: Address, written: str) -> None:
    assert Address.parse(text) == address
    assert str(address) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":3260",
        "host:",
        "host:port",
        "host:65536",
        "::1",
        "[::1",
        "a b:1",
        "-:",
        "host,0",
        "host,65536",
        "host,",
        "host,1,2",
        "host,x",
        "host=",
        "host=other:0",
        "host=other,2",
        "host=a=b",
        "=host",
    ],
)
def test_broken_address_is_refused(text: str) -> None:
    if text == "-:":
        text = "host:-1"
    with pytest.raises(SettingsError, match="--listen can't be used"):
        server_settings(listen=[text])


def test_several_addresses_of_both_families() -> None:
    listen = server_settings(listen=["0.0.0.0:3260", "[::]:3260"]).listen
    assert listen == (Address("0.0.0.0", 3260), Address("::", 3260))


def test_portal_groups_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment a comma separates addresses, and an address from its tag."""
    monkeypatch.setenv("GOLDHERD_LISTEN", "10.0.0.1:3260,1, 10.0.1.1:3260,2=a.example:99,[::1],7,host")
    assert server_settings().listen == (
        Address("10.0.0.1", 3260, 1),
        Address("10.0.1.1", 3260, 2, Address("a.example", 99)),
        Address("::1", 3260, 7),
        Address("host", 3260, 1),
    )


def test_defaults_make_sense() -> None:
    settings = server_settings()
    assert settings.listen == (Address("0.0.0.0", 3260),)
    assert settings.reactors == spare_cores() == max(len(os.sched_getaffinity(0)) - 1, 0)
    assert 0 < settings.cache <= memory_bytes() // 2
    assert settings.target_name("pc-1") == "iqn.2026-11.io.goldherd:pc-1"
    assert settings.initiator_name("pc-1") == "iqn.2026-11.io.goldherd.node:pc-1"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("512M", 512 << 20),
        ("8G", 8 << 30),
        ("8GiB", 8 << 30),
        ("1.5k", 1536),
        ("100%", memory_bytes()),
    ],
)
def test_cache_budget_in_every_form(text: str, size_bytes: int) -> None:
    assert server_settings(cache=text).cache == size_bytes


@pytest.mark.parametrize("text", ["", "lots", "-1", "101%", "8X"])
def test_broken_cache_budget_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--cache can't be used"):
        server_settings(cache=text)


def test_environment_is_read_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDHERD_LISTEN", "10.0.0.1:1, [::1]:2")
    monkeypatch.setenv("GOLDHERD_REACTORS", "0")
    monkeypatch.setenv("GOLDHERD_CACHE", "1G")
    settings = server_settings(reactors=3)
    assert settings.listen == (Address("10.0.0.1", 1), Address("::1", 2))
    assert (settings.reactors, settings.cache) == (3, 1 << 30)


def test_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDHERD_PING_SECONDS", "soon")
    with pytest.raises(SettingsError, match="GOLDHERD_PING_SECONDS can't be used"):
        server_settings()


@pytest.mark.parametrize("prefix", ["", "iqn.2026-11", "goldherd", "iqn.2026-11.io.Goldherd", "iqn.2026-11.io:x"])
def test_prefix_that_begins_no_target_name_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="can't begin a target name"):
        server_settings(target_prefix=prefix)


def test_data_folder_of_root_and_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_folder() == Path("/var/lib/goldherd")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_folder() == Path("/home/somebody/.local/share/goldherd")
    monkeypatch.setenv("GOLDHERD_DATA", "/srv/herd")
    assert default_data_folder() == Path("/srv/herd")


def test_control_socket_lies_in_the_data_folder() -> None:
    assert ServeSettings(Path("/srv"), server_settings()).control_socket == Path("/srv/control.sock")


@pytest.mark.parametrize(
    ("text", "of_a_gib"), [("10%", (1 << 30) // 10), ("512M", 512 << 20), ("0", 0), ("2.5 %", 26843545)]
)
def test_share_is_a_size_or_a_part(monkeypatch: pytest.MonkeyPatch, text: str, of_a_gib: int) -> None:
    monkeypatch.setenv("GOLDHERD_SPACE_SOFT", text)
    assert server_settings().space_soft.of(1 << 30) == of_a_gib


@pytest.mark.parametrize("text", ["101%", "many", "-1", "10 %%"])
def test_share_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GOLDHERD_SPACE_HARD", text)
    with pytest.raises(SettingsError, match="GOLDHERD_SPACE_HARD can't be used"):
        server_settings()
