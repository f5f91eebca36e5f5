"""pytest finds every benchmark by the name of the folder alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_benchmark_is_collected() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "bench"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout
    files = {line.partition("::")[0] for line in found.stdout.splitlines() if "::" in line}
    assert files == {f"bench/{path.name}" for path in (ROOT / "bench").glob("bench_*.py")}
