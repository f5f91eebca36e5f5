"""Root's commands make files that belong to the owner of the data folder."""

import os
from pathlib import Path

from tests.target.daemon import Herd

DAEMON = 12345
"""A user and group that nothing else has."""


def strangers(data: Path) -> list[Path]:
    """What does not belong to the daemon's user and group."""
    return [path for path in (data, *data.rglob("*")) if (path.stat().st_uid, path.stat().st_gid) != (DAEMON, DAEMON)]


def test_files_of_roots_commands_belong_to_the_owner_of_the_data_folder(tmp_path: Path) -> None:
    herd = Herd(tmp_path / "data")
    herd.data.mkdir()
    os.chown(herd.data, DAEMON, DAEMON)
    golden, secret = tmp_path / "golden.raw", tmp_path / "secret"
    golden.write_bytes(bytes(1 << 20))
    secret.write_text("a-secret-of-16-b\n")
    for path in (golden, secret):
        path.chmod(0o600)  # root may read them, and the owner of the data folder may not
    herd.do("image", "import", golden, "--name", "lab")
    herd.do("node", "add", "pc-[1-2]", "--image", "lab", "--chap-user", "u", "--chap-secret-file", secret)
    herd.do("node", "reset", "pc-1", "--yes")
    assert not strangers(herd.data)


def test_files_of_a_new_data_folder_belong_to_root(tmp_path: Path) -> None:
    herd = Herd(tmp_path / "data")
    golden = tmp_path / "golden.raw"
    golden.write_bytes(bytes(1 << 20))
    herd.do("image", "import", golden, "--name", "lab")
    assert {path.stat().st_uid for path in herd.data.rglob("*")} == {0}
