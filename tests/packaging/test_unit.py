"""The unit as systemd reads it: understood, closed as far as it can be, and open where the daemon needs it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "deploy" / "goldherd.service"
EXPOSURE_MAX = 2.5
FAMILY = re.compile(r"\bAF_[A-Z0-9]+\b")
NO_SOCKET = {"AF_UNSPEC"}


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with commands that every system has."""
    path = tmp_path / UNIT.name
    path.write_text(re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    return path


def test_the_service_may_open_every_kind_of_socket_that_goldherd_opens() -> None:
    (line,) = re.findall(r"^RestrictAddressFamilies=(.*)$", UNIT.read_text(), re.MULTILINE)
    used = {
        family
        for tree in ("core", "plugins")
        for kind in ("*.py", "*.pyx", "*.pxd")
        for path in (ROOT / tree).rglob(kind)
        for family in FAMILY.findall(path.read_text())
    }
    assert used - NO_SOCKET <= set(line.split())
    assert "AF_NETLINK" in used


def test_systemd_understands_the_service(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_exposed_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    (exposure,) = re.findall(r"Overall exposure level for goldherd.service: ([\d.]+)", done.stdout)
    assert float(exposure) < EXPOSURE_MAX


def test_snippets_and_unit_speak_of_the_same_user_and_folder() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    user, folder = settings["User"], f"/var/lib/{settings['StateDirectory']}"
    assert settings["Environment"].split()[0] == f"GOLDHERD_DATA={folder}"
    assert re.findall(r"^u (\S+) ", (UNIT.parent / "goldherd.sysusers").read_text(), re.MULTILINE) == [user]
    (line,) = re.findall(r"^d (.*)$", (UNIT.parent / "goldherd.tmpfiles").read_text(), re.MULTILINE)
    assert line.split() == [folder, settings["StateDirectoryMode"], user, settings["Group"], "-"]
