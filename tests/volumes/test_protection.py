"""fs-verity on a real ext4: where the kernel has it a sealed file is protected, elsewhere nothing changes."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from goldherd.cli.command_line import run as run_commands
from goldherd.cli.logs import choose_folder
from goldherd.files import verity
from goldherd.volumes import sealing

from tests.support.file_systems import MIB, mounted

HEADERS = """
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    struct fsverity_enable_arg arg;
    memset(&arg, 0, sizeof arg);
    arg.version = 1;
    arg.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
    arg.block_size = 4096;
    arg.salt_size = 2;
    arg.salt_ptr = 3;
    arg.sig_size = 4;
    arg.sig_ptr = 5;
    printf("%lx %lx ", (unsigned long)FS_IOC_ENABLE_VERITY, (unsigned long)FS_IOC_MEASURE_VERITY);
    for (size_t i = 0; i < sizeof arg; i++) printf("%02x", ((unsigned char*)&arg)[i]);
    return 0;
}
"""


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path, "ext4", 64 * MIB, "-O", "verity") as place:
        yield place


def is_there(place: Path) -> bool:
    """Whether the kernel protects files of a file system: found out by asking it, apart from the program's own way."""
    probe = place / "probe"
    probe.write_bytes(bytes(4096))
    # measuring a file without protection: ENODATA where there is fs-verity, EOPNOTSUPP or ENOTTY elsewhere
    script = (
        "import fcntl, sys\n"
        f"try: fcntl.ioctl(open({str(probe)!r}, 'rb'), {verity.FS_IOC_MEASURE_VERITY}, bytearray(68))\n"
        "except OSError as error: sys.exit(error.errno)\n"
    )
    code = subprocess.run(["python3", "-c", script], check=False).returncode
    probe.unlink()
    assert code in (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOTTY, errno.EOVERFLOW), os.strerror(code)
    return code in (errno.ENODATA, errno.EOVERFLOW)


def test_requests_are_those_of_the_headers(tmp_path: Path) -> None:
    program = tmp_path / "headers"
    subprocess.run(["gcc", "-x", "c", "-o", program, "-"], input=HEADERS, text=True, check=True)
    enable, measure, argument = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert int(enable, 16) == verity.FS_IOC_ENABLE_VERITY
    assert int(measure, 16) == verity.FS_IOC_MEASURE_VERITY
    assert verity._ENABLE.pack(1, 1, 4096, 2, 3, 4, 0, 5).hex() == argument


def test_sealed_file_is_protected_where_the_kernel_can(
    ext4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = is_there(ext4)
    golden = tmp_path / "golden.raw"
    golden.write_bytes(os.urandom(MIB))
    data = ext4 / "data"
    assert run_commands(["--data", str(data), "image", "import", str(golden), "--name", "lab"]) == 0
    assert run_commands(["--data", str(data), "image", "show", "lab"]) == 0
    shown = capsys.readouterr().out
    assert ("fs-verity:             sha256:" in shown) == there
    assert ("fs-verity:             not used" in shown) != there
    file = data / "images" / "lab@1.vhd"
    file.chmod(0o644)
    try:
        with file.open("r+b") as writable:
            writable.write(b"x")
        written = True
    except PermissionError:
        written = False
    assert written != there
    assert run_commands(["--data", str(data), "image", "verify", "lab"]) == (0 if there else 1)
    # A copy of a protected file is not protected: a restored backup is changed until it was verified.
    if there:
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        os.utime(copy, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
        copy.replace(file)
        assert run_commands(["--data", str(data), "node", "add", "pc-1", "--image", "lab"]) == 1
        assert "its fs-verity digest differs" in capsys.readouterr().err
        assert run_commands(["--data", str(data), "image", "verify", "lab"]) == 0
        assert run_commands(["--data", str(data), "node", "add", "pc-1", "--image", "lab"]) == 0
    else:
        assert "is damaged" in capsys.readouterr().err
        assert run_commands(["--data", str(data), "node", "add", "pc-1", "--image", "lab"]) == 1
        assert sealing.OTHER_CONTENT in capsys.readouterr().err
    assert run_commands(["--data", str(data), "image", "remove", "lab@1", "--yes"]) == (1 if there else 0)
    choose_folder(None)


def test_file_of_many_holes_is_left_as_it_is(ext4: Path) -> None:
    """The kernel would read each hole, and its tree would take space for it."""
    file = ext4 / "sparse"
    with file.open("wb") as sparse:
        sparse.truncate(3 << 30)
        sparse.write(b"data")
    sealing.protect(file, quiet)
    with file.open("rb") as opened:
        assert verity.measure(opened.fileno()) is None


def test_file_that_a_program_writes_to_is_not_protected_and_that_stops_nothing(ext4: Path) -> None:
    there = is_there(ext4)
    file = ext4 / "busy"
    with file.open("wb") as busy:
        busy.write(bytes(4096))
        busy.flush()
        sealing.protect(file, quiet)
        with file.open("rb") as opened:
            assert verity.measure(opened.fileno()) is None
    sealing.protect(file, quiet)
    with file.open("rb") as opened:
        assert (verity.measure(opened.fileno()) is not None) == there
