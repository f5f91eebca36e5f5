"""`goldherd node`: what is printed, as text and as JSON."""

from pathlib import Path
from typing import Any

NODE_KEYS = [
    "name",
    "target",
    "image",
    "version",
    "pinned",
    "policy",
    "initiators",
    "rules",
    "macs",
    "chap_user",
    "overlay",
    "created_at",
    "seen_at",
    "seen_address",
    "quota_soft",
    "quota_hard",
    "used_bytes",
    "failed",
]


def test_add_is_idempotent_and_says_so(run: Any, lab: None) -> None:
    assert run("node", "add", "pc-[001-040]", "--image", "lab").out == "40 nodes added.\n"
    second = run("node", "add", "pc-[001-040]", "--image", "lab")
    assert (second.code, second.out) == (0, "Nothing changed: 40 nodes as wished already.\n")
    assert run("node", "add", "pc-[040-041]", "--image", "lab").out == "1 node added; 1 existed already.\n"
    assert run("node", "add", "pc-[041-042]", "--image", "lab", "--json").json == {
        "created": ["pc-042"],
        "unchanged": ["pc-041"],
    }


def test_list_has_the_documented_shape(run: Any, lab: None) -> None:
    run("node", "add", "pc-1", "--image", "lab@1", "--mac", "52-54-00-AB-CD-EF", "--policy", "reset")
    (node,) = run("node", "list", "--json").json
    assert list(node) == NODE_KEYS
    assert node["target"] == "iqn.2026-11.io.goldherd:pc-1"
    assert node["initiators"] == ["iqn.2026-11.io.goldherd.node:pc-1"]
    assert (node["macs"], node["policy"], node["pinned"]) == (["52:54:00:ab:cd:ef"], "reset", True)


def test_list_of_some_nodes(run: Any, lab: None) -> None:
    run("node", "add", "pc-[1-9]", "--image", "lab")
    assert [node["name"] for node in run("node", "list", "pc-[2-3]", "--json").json] == ["pc-2", "pc-3"]


def test_list_for_people_cuts_nothing(run: Any, lab: None) -> None:
    initiator = "iqn.2026-11.io.example." + "long" * 30 + ":pc"
    run("node", "add", "pc-1", "--image", "lab", "--initiator", initiator)
    assert any("pc-1" in line and initiator in line for line in run("node", "list").out.splitlines())


def test_prefix_of_target_and_initiator_comes_from_the_environment(run: Any, lab: None, monkeypatch: Any) -> None:
    monkeypatch.setenv("GOLDHERD_TARGET_PREFIX", "iqn.2020-01.org.example")
    run("node", "add", "pc-1", "--image", "lab")
    shown = run("node", "show", "pc-1", "--json").json
    assert shown["target"] == "iqn.2020-01.org.example:pc-1"
    assert shown["initiators"] == ["iqn.2020-01.org.example.node:pc-1"]


def test_secret_is_in_no_output_and_no_log(run: Any, lab: None, tmp_path: Path, data: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-ours\n")
    assert run("node", "add", "pc-1", "--image", "lab", "--chap-user", "u", "--chap-secret-file", secret).code == 0
    run("node", "show", "pc-9")
    for arguments in (
        ("node", "list"),
        ("node", "list", "--json"),
        ("node", "show", "pc-1"),
        ("status", "--json"),
    ):
        ended = run(*arguments)
        assert "a-secret-of-ours" not in ended.out + ended.err
    assert "a-secret-of-ours" not in (data / "goldherd.log").read_text()
    assert (data / "secrets" / "pc-1").read_text() == "a-secret-of-ours"


def test_short_secret_is_taken_with_a_warning(run: Any, lab: None, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("short")
    ended = run("node", "add", "pc-1", "--image", "lab", "--chap-user", "u", "--chap-secret-file", secret)
    assert ended.code == 0
    assert ended.err.startswith("Warning: ") and "RFC 7143" in ended.err


def test_set_show_reset_and_remove(run: Any, lab: None) -> None:
    run("node", "add", "pc-[1-2]", "--image", "lab")
    assert run("node", "set", "pc-[1-2]", "--policy", "reset").out == "2 nodes changed.\n"
    assert run("node", "set", "pc-1", "--policy", "reset").out == "Nothing changed: 1 node as wished already.\n"
    assert "Policy:    reset\n" in run("node", "show", "pc-1").out
    assert run("node", "reset", "pc-[1-2]", "--yes").out == "2 nodes reset.\n"
    assert run("node", "remove", "pc-1", "--yes").out == "1 node removed.\n"
    assert [node["name"] for node in run("node", "list", "--json").json] == ["pc-2"]


def test_every_initiator_is_admitted_by_either_option(run: Any, lab: None) -> None:
    assert run("node", "add", "pc-1", "--image", "lab", "--initiator", "any").code == 0
    assert run("node", "add", "pc-2", "--image", "lab", "--allow", "any").code == 0
    shown = run("node", "list", "--json").json
    assert [node["rules"] for node in shown] == [["initiator:any"]] * 2
    # A rule as it is shown is taken as well.
    assert run("node", "set", "pc-1", "--allow", *shown[0]["rules"], "--json").json["unchanged"] == ["pc-1"]
