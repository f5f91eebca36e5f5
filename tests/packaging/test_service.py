"""The unit started by systemd itself: the daemon of the wheel, restricted as the unit says, serves a disk.

systemd runs as the init of namespaces of its own (tests/support/systemd.py) and applies the unit as on any machine:
user, capabilities, system-call filter, address families, mounts, memory protection. Not proven here: limits of memory
and swap, and the device control group, for which the namespaces have no controllers; and descriptors beyond the hard
limit of the tests, which systemd then uses instead.
"""

import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT
from tests.support.systemd import Machine

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
VENV, OTHERS, WHEELS = Path("/opt/goldherd"), Path("/opt/others"), Path("/opt/wheels")
GOLDHERD = VENV / "bin" / "goldherd"
DATA = Path("/var/lib/goldherd")
PLACE = "127.0.0.1:3260"
START_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """goldherd installed as deploy/README.md says, with a golden image and a node, and the daemon started."""
    # An interpreter below /root is out of the service's sight, as everything in a home folder.
    python = Path(sys.base_prefix) if sys.base_prefix == "/usr" else Path("/opt/python")
    shared = {Path(sysconfig.get_path("purelib")): OTHERS, wheel.parent: WHEELS}
    if python != Path(sys.base_prefix):
        shared[Path(sys.base_prefix)] = python
    unit = (ROOT / "deploy" / "goldherd.service").read_text()
    with Machine(tmp_path_factory.mktemp("machine"), {"goldherd.service": unit}, shared) as started:
        set_up(started, python / "bin" / VERSION, WHEELS / wheel.name)
        yield started


def set_up(machine: Machine, python: Path, wheel: Path) -> None:
    """Installs the wheel, its user and its folder; then root makes an image, starts the daemon and adds a node."""
    machine.do(python, "-m", "venv", "--without-pip", VENV)
    pip = (
        python,
        "-m",
        "pip",
        "--python",
        VENV / "bin" / "python",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    )
    machine.do("env", f"PYTHONPATH={OTHERS}", *pip)
    machine.do("sh", "-c", f"echo {OTHERS} >{VENV}/lib/{VERSION}/site-packages/others.pth")
    deploy = VENV / "share" / "goldherd" / "deploy"
    machine.do("systemd-sysusers", deploy / "goldherd.sysusers")
    machine.do("systemd-tmpfiles", "--create", deploy / "goldherd.tmpfiles")
    machine.do("sh", "-c", "umask 077; truncate --size 16M /root/golden.raw")
    machine.do(GOLDHERD, "--data", DATA, "image", "import", "/root/golden.raw", "--name", "lab")
    # An interpreter with a shared library finds that in its own folder, which the machine sees elsewhere.
    machine.do("sh", "-c", f"echo LD_LIBRARY_PATH={python.parent.parent}/lib >/etc/default/goldherd")
    start(machine)
    machine.do(GOLDHERD, "--data", DATA, "node", "add", "pc-001", "--image", "lab")


def start(machine: Machine) -> None:
    """Starts the service and waits until it accepts logins."""
    printed = machine.console.count("ready ")
    machine.do("systemctl", "start", "goldherd")
    machine.wait_for(lambda: machine.console.count("ready ") > printed)


def use_disk(machine: Machine, held: str, written: str) -> None:
    """An initiator of this system, in the machine's network: reads block 100, writes it, flushes, reads it."""
    client = (sys.executable, "-m", "tests.packaging.client", PLACE, "pc-001", held, written)
    done = machine.run(*client, only=("--net",))
    assert (done.returncode, done.stdout) == (0, "done\n"), f"{done.stderr}\n{machine.console[-4000:]}"


def status_of_the_daemon(machine: Machine) -> dict[str, str]:
    """/proc/PID/status of the service's main process."""
    text = machine.do("cat", f"/proc/{machine.property('goldherd', 'MainPID')}/status")
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


def test_the_service_serves_writes_and_flushes(machine: Machine) -> None:
    use_disk(machine, "00", "a5")
    machine.do("systemctl", "stop", "goldherd")
    assert machine.property("goldherd", "Result") == "success"
    start(machine)
    use_disk(machine, "a5", "00")


def main_pid(machine: Machine) -> int:
    return int(machine.property("goldherd", "MainPID"))


def test_a_reload_hands_over_to_a_new_process_of_the_service(machine: Machine) -> None:
    use_disk(machine, "00", "5a")
    before = main_pid(machine)
    machine.do("systemctl", "reload", "goldherd")
    machine.wait_for(lambda: machine.run("test", "-e", f"/proc/{before}").returncode == 1)
    assert main_pid(machine) not in (0, before)
    assert machine.property("goldherd", "ActiveState") == "active"
    assert machine.property("goldherd", "NRestarts") == "0"
    use_disk(machine, "5a", "00")


def test_a_daemon_that_was_killed_is_started_again(machine: Machine) -> None:
    use_disk(machine, "00", "77")
    before, printed = main_pid(machine), machine.console.count("ready ")
    machine.do("kill", "-KILL", str(before))
    machine.wait_for(lambda: machine.console.count("ready ") > printed)
    assert main_pid(machine) not in (0, before)
    assert machine.property("goldherd", "NRestarts") == "1"
    use_disk(machine, "77", "00")


def test_the_daemon_has_no_rights_but_its_users(machine: Machine) -> None:
    status = status_of_the_daemon(machine)
    user = machine.do("id", "-u", "goldherd").strip()
    assert status["Uid"].split() == [user] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"  # SECCOMP_MODE_FILTER, seccomp(2)


def test_the_daemon_can_write_to_its_data_folder_only(machine: Machine) -> None:
    pid = machine.property("goldherd", "MainPID")
    mounts = machine.do("cat", f"/proc/{pid}/mounts")
    flags = {place: options.split(",")[0] for _, place, _, options, _, _ in map(str.split, mounts.splitlines())}
    assert flags["/"] == "ro"
    assert flags[str(DATA)] == "rw"
    kernel = ("/proc", "/sys", "/dev", "/run")  # and /run, which is gone after a restart and where root alone may write
    writable = {place for place, mode in flags.items() if mode == "rw" and not place.startswith(kernel)}
    assert writable <= {str(DATA), "/tmp", "/var/tmp"}  # PrivateTmp
    for closed in ("home", "root"):
        assert machine.do("stat", "--format", "%a", f"/proc/{pid}/root/{closed}").strip() == "0"


def test_all_files_belong_to_the_daemons_user(machine: Machine) -> None:
    assert machine.do("find", DATA, "!", "-user", "goldherd", "-o", "!", "-group", "goldherd") == ""


def test_root_asks_the_daemon(machine: Machine) -> None:
    assert '"pc-001"' in machine.do(GOLDHERD, "--data", DATA, "node", "list", "--json")
    assert PLACE.rpartition(":")[2] in machine.do(GOLDHERD, "--data", DATA, "status", "--json")


def test_nothing_that_the_daemon_does_is_refused(machine: Machine) -> None:
    log = machine.console
    assert "Operation not permitted" not in log[log.index("ready ") :]
    assert "Traceback" not in log
