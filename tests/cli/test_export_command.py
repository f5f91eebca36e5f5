"""`goldherd export`: files and their options become targets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from goldherd.cli.commands.export import export_settings
from goldherd.cli.commands.luns import parse_lun
from goldherd.cli.context import Context
from goldherd.errors import CatalogError, ImageError
from goldherd.model.targets import LunConfig
from goldherd.settings import ExportSettings, server_settings

Settings = Callable[..., ExportSettings]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(4096))
    return path


@pytest.fixture
def settings(data: Path) -> Settings:
    def do(*luns: LunConfig, **options: Any) -> ExportSettings:
        defaults = {"overlay": None, "target": None, "credentials": None, "server": server_settings()}
        with Context(data).glance() as client:
            return export_settings(client, luns=luns, **{**defaults, **options})

    return do


def test_file_alone_is_thin_writable_and_probed(disk: Path) -> None:
    assert parse_lun(str(disk), 3) == LunConfig(lun=3, location=str(disk))


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("read-only", "read_only", True),
        ("removable", "removable", True),
        ("thick", "thin", False),
        ("block-size=4096", "block_size", 4096),
        ("physical-block-size=4096", "physical_block_size", 4096),
        ("format=raw", "format", "raw"),
    ],
)
def test_option_of_a_file(disk: Path, option: str, field: str, value: object) -> None:
    assert getattr(parse_lun(f"{disk},{option}", 0), field) == value


def test_options_of_a_file_add_up(disk: Path) -> None:
    lun = parse_lun(f"{disk},read-only,block-size=4096,format=raw", 0)
    assert (lun.read_only, lun.block_size, lun.physical_block_size, lun.format) == (True, 4096, 4096, "raw")


@pytest.mark.parametrize(
    "option", ["Read-Only", "block-size=1000", "block-size", "thick=1", "format=", "format=../x", ""]
)
def test_option_that_does_not_exist_is_wrong_usage(disk: Path, option: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_lun(f"{disk},{option}", 0)


def test_option_that_neither_file_nor_format_has_is_wrong_usage(run: Any, disk: Path) -> None:
    ended = run("export", f"{disk},reed-only")
    assert ended.code == 2
    assert "format raw has no options" in " ".join(ended.err.split())


def test_options_of_the_format_go_to_the_format(disk: Path) -> None:
    lun = parse_lun(f"{disk},chs-size,longer-child=yes,read-only", 0)
    assert (lun.options, lun.read_only) == ((("chs-size", ""), ("longer-child", "yes")), True)


@pytest.mark.parametrize(
    ("text", "location", "options"),
    [
        ("httprange:http://host/d.raw", "http://host/d.raw", ()),
        ("httprange:http://host//a,b.raw?x=1#z,read-only", "http://host//a,b.raw?x=1#z", ()),
        ("rbd:pool/disk@snap,read-only,retries=3", "pool/disk@snap", (("retries", "3"),)),
        ("far:" + "x" * 5000, "x" * 5000, ()),
    ],
)
def test_location_that_is_no_file_is_kept_as_it_was_written(
    text: str, location: str, options: tuple[tuple[str, str], ...], settings: Settings
) -> None:
    lun = parse_lun(text, 0)
    assert (lun.location, lun.options) == (location, options)
    assert settings(lun).target.luns[0].location == location


def test_file_with_a_comma_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a,read-only"
    path.write_bytes(bytes(512))
    assert parse_lun(str(path), 0) == LunConfig(0, str(path))
    assert parse_lun(f"{path},removable", 0) == LunConfig(0, str(path), removable=True)


def test_format_in_front_of_the_file() -> None:
    assert parse_lun("zip:disk.zip,read-only", 0) == LunConfig(0, "disk.zip", format="zip", read_only=True)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="There is no file"):
        parse_lun(str(tmp_path / "none.vhd"), 0)
    with pytest.raises(ImageError, match="is a folder"):
        parse_lun(str(tmp_path), 0)


def test_target_has_the_default_name(disk: Path, settings: Settings) -> None:
    target = settings(LunConfig(0, str(disk))).target
    assert target.name == "iqn.2026-11.io.goldherd:export"
    assert (target.access, target.credentials, target.node) == (None, None, None)


def test_target_name_is_folded_and_checked(disk: Path, settings: Settings) -> None:
    assert settings(LunConfig(0, str(disk)), target="IQN.2026-11.io.X:A").target.name == "iqn.2026-11.io.x:a"
    with pytest.raises(CatalogError, match="can't name a target"):
        settings(LunConfig(0, str(disk)), target="disk")


def test_overlay_turns_the_file_into_a_parent(disk: Path, settings: Settings, tmp_path: Path) -> None:
    child = tmp_path / "child.vhd"
    (lun,) = settings(LunConfig(0, str(disk), format="vhd"), overlay=child).target.luns
    assert (lun.path, lun.format, lun.parent, lun.parent_format) == (child, None, disk, "vhd")
    assert lun.create and not lun.read_only


def test_overlay_goes_with_one_file(disk: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="exactly one FILE"):
        settings(LunConfig(0, str(disk)), LunConfig(1, str(disk)), overlay=tmp_path / "child.vhd")


def test_overlay_is_not_its_own_parent(disk: Path, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "link.vhd").hardlink_to(disk)
    with pytest.raises(ImageError, match="child of itself"):
        settings(LunConfig(0, str(disk)), overlay=tmp_path / "link.vhd")
    with pytest.raises(ImageError, match="There is no folder"):
        settings(LunConfig(0, str(disk)), overlay=tmp_path / "none" / "child.vhd")


def test_write_protected_file_is_read_only_for_root_too(
    disk: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.chmod(0o444)
    assert settings(LunConfig(0, str(disk))).target.luns[0].read_only
    assert "no write permission" in capsys.readouterr().err


def test_sealed_image_is_never_writable_by_any_name(
    run: Any, lab: None, data: Path, settings: Settings, tmp_path: Path
) -> None:
    golden = data / "images" / "lab@1.vhd"
    golden.chmod(0o666)
    (tmp_path / "symbolic").symlink_to(golden)
    (tmp_path / "hard").hardlink_to(golden)
    for path in (golden, tmp_path / "symbolic", tmp_path / "hard"):
        (lun,) = settings(LunConfig(0, str(path))).target.luns
        assert (lun.read_only, lun.sealed) == (True, True)
        with pytest.raises(ImageError, match="is sealed as lab@1"):
            settings(LunConfig(0, str(tmp_path / "golden.raw")), overlay=path)


def test_changed_golden_is_no_parent_of_an_overlay(
    run: Any, lab: None, data: Path, settings: Settings, tmp_path: Path
) -> None:
    golden = data / "images" / "lab@1.vhd"
    golden.chmod(0o644)
    golden.write_bytes(b"x" + golden.read_bytes()[1:])
    for overlay in (None, tmp_path / "child.vhd"):
        with pytest.raises(ImageError, match="was changed after it was sealed"):
            settings(LunConfig(0, str(golden)), overlay=overlay)


def test_chap_options_belong_together(run: Any, disk: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-ours\n")
    for options in (
        ("--chap-user", "u"),
        ("--chap-secret-file", secret),
        ("--mutual-user", "m", "--mutual-secret-file", secret),
    ):
        assert run("export", disk, *options).code == 2


def test_equal_secrets_for_both_directions_are_refused(run: Any, disk: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-ours\n")
    chap = ("--chap-user", "u", "--chap-secret-file", secret)
    ended = run("export", disk, *chap, "--mutual-user", "m", "--mutual-secret-file", secret)
    assert ended.code == 1 and "12.1.3" in ended.err
