"""What deploy/ restricts the daemon to is enough for what the daemon does."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy" / "goldherd.service"
FAMILY = re.compile(r"\bAF_[A-Z0-9]+\b")
NO_SOCKET = {"AF_UNSPEC"}


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


def test_systemd_understands_the_service(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
