"""What can't be served is refused at the start: one plain sentence, exit code 1 (2 for wrong usage), nothing made."""

import shutil
import socket
from pathlib import Path

import pytest

from tests.interop.conftest import run_tool
from tests.target.daemon import goldherd, refused


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def export(data: Path, *words: object) -> str:
    """The sentence with which `goldherd export` refuses."""
    return refused(goldherd("--data", data, "export", *words, "--listen", "127.0.0.1:0"))


def test_missing_file_and_folder(data: Path, tmp_path: Path) -> None:
    assert str(tmp_path / "none.vhd") in export(data, tmp_path / "none.vhd")
    assert "folder" in export(data, tmp_path)
    assert not data.exists()


def test_truncated_vhd(data: Path, raw: Path, tmp_path: Path) -> None:
    whole, short = tmp_path / "whole.vhd", tmp_path / "short.vhd"
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", raw, whole)
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert str(short) in export(data, f"{short},format=vhd")


def test_format_that_the_file_has_not(data: Path, raw: Path) -> None:
    assert str(raw) in export(data, f"{raw},format=vhd")


def test_format_that_nobody_knows(data: Path, raw: Path) -> None:
    assert "no plugin knows the format qcow9" in export(data, f"{raw},format=qcow9")


def test_raw_file_of_no_whole_sectors(data: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.raw"
    odd.write_bytes(bytes(1000))
    assert "512" in export(data, odd)


def test_file_that_somebody_else_writes(data: Path, raw: Path, tmp_path: Path) -> None:
    disk = Path(shutil.copy(raw, tmp_path / "disk.raw"))
    disk.chmod(0o644)
    assert "uses it" in export(data, disk, disk)


def test_port_in_use(data: Path, raw: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = f"127.0.0.1:{other.getsockname()[1]}"
        sentence = refused(goldherd("--data", data, "export", f"{raw},read-only", "--listen", place))
        assert place in sentence and "choose another port" in sentence


def test_wrong_iqn(data: Path, raw: Path) -> None:
    assert "can't name a target" in export(data, f"{raw},read-only", "--target", "disk one")


def test_wrong_usage_ends_with_2(data: Path, raw: Path) -> None:
    for words in (("export",), ("export", f"{raw},reed-only"), ("serve", "--reactors", "many"), ("frobnicate",)):
        ended = goldherd("--data", data, *words)
        assert ended.returncode == 2, words
        assert "Traceback" not in ended.stderr and ended.stdout == ""


def test_data_folder_that_is_a_file(raw: Path) -> None:
    assert str(raw) in refused(goldherd("--data", raw, "serve", "--listen", "127.0.0.1:0"))


def test_data_folder_with_too_long_a_path(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    assert "shorter path" in refused(goldherd("--data", deep, "serve", "--listen", "127.0.0.1:0"))
