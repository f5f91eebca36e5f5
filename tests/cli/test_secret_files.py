"""Secrets as editors write them."""

import codecs
from pathlib import Path

import pytest
from goldherd.cli.secret_files import read_secret_file
from goldherd.errors import SettingsError

SECRET = b"twelve-bytes"


@pytest.mark.parametrize(
    "content", [SECRET, SECRET + b"\n", SECRET + b"\r\n", codecs.BOM_UTF8 + SECRET, codecs.BOM_UTF8 + SECRET + b"\r\n"]
)
def test_marks_and_line_ends_of_an_editor_are_not_part_of_the_secret(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert read_secret_file(tmp_path / "secret") == SECRET


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_secret_in_utf_16_is_refused(tmp_path: Path, encoding: str) -> None:
    mark = {"utf-16": b"", "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}[encoding]
    (tmp_path / "secret").write_bytes(mark + SECRET.decode().encode(encoding))
    with pytest.raises(SettingsError, match="UTF-16"):
        read_secret_file(tmp_path / "secret")
