"""Operations of an administrator that a power cut ends: each has happened or has not, and nothing is left lying about.

An operation is first done whole, to count its requests to the file system and to see what it leaves. Then it is done
again from the same beginning, and the power goes off before one of those requests. After the next start (which clears
up as `goldherd serve` does) records and files must be those before or those after; if the command had said that it was
done, those after. The work goes on from there.
"""

import hashlib
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from goldherd.app import open_services
from goldherd.hooks import Hooks
from goldherd.services.images import list_versions
from goldherd.services.nodes import list_nodes
from goldherd.volumes import sealing

from bench.pattern import write_pattern
from tests.faults.filesystem import FaultFs
from tests.faults.launcher import Launcher
from tests.support.targets import PREFIX
from tests.target.daemon import Herd

DISK_BYTES = 3 << 20
NODES = ("pc-1", "pc-2", "pc-3")
SECRET = "a secret of a test"
OPERATIONS_OF_ONE_FOLDER = 8
LIVE = ("control.sock", "goldherd.log")
Words = tuple[str, ...]


@dataclass(frozen=True)
class State:
    """What records and files say, without what differs from run to run."""

    nodes: str
    versions: str
    files: frozenset[tuple[str, str]]
    """(name, what it is); for a disk of a node "fresh", or the hash of what is in it."""

    def difference(self, other: "State") -> str:
        """Where the two are not alike, in a tester's words."""
        files = sorted(set(self.files) ^ set(other.files))
        records = [pair for pair in ((self.nodes, other.nodes), (self.versions, other.versions)) if pair[0] != pair[1]]
        return "; ".join([f"files {files}", *(f"records {one} and not {two}" for one, two in records)])


@dataclass
class Outcome:
    """How many cuts there were, by kind of operation, and what was wrong."""

    cuts: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def table(self) -> str:
        """For people, and for docs/reliability.md."""
        lines = ["| operation | power cuts | it had happened | it had not |", "|---|---|---|---|"]
        for name, cuts in sorted(self.cuts.items()):
            lines.append(f"| `{name}` | {cuts} | {self.happened[name]} | {cuts - self.happened[name]} |")
        return "\n".join(lines)


class ManagementRounds:
    """A data folder whose operations are cut short again and again.

    Args:
        program: the file system (filesystem.build).
        launcher: starts the commands.
        folder: an empty folder of its own.
        seed: decides operations and cuts.
        lie: whether fsync does nothing, to see that it is noticed.
    """

    def __init__(self, program: Path, launcher: Launcher, folder: Path, seed: int, *, lie: bool = False) -> None:
        self.outcome = Outcome()
        self._lie = lie
        self.filesystem = FaultFs(program, folder)
        self._launcher, self._folder, self._seed = launcher, folder, seed
        self._choose = random.Random(seed)
        self._template, self._start = folder / "template", folder / "start"
        self._secret = folder / "secret"
        self._secret.write_text(SECRET)
        self._make_template()

    def _make_template(self) -> None:
        source = write_pattern(self._folder / "golden.raw", DISK_BYTES)
        with self.filesystem as mounted:
            herd = Herd(mounted.path / "data")
            for _ in range(2):
                herd.do("image", "import", source, "--name", "lab")
            herd.do("node", "add", ",".join(NODES), "--image", "lab@1")
            herd.do("node", "add", "pc-4", "--image", "lab", "--chap-user", "pc-4", "--chap-secret-file", self._secret)
            shutil.copy(source, mounted.path / "source.raw")
            Hooks().formats.create(f"vhd:{mounted.path / 'source.vhd'}", DISK_BYTES)
            mounted.end()
        shutil.copytree(self.filesystem.backing, self._template, symlinks=True)

    def run(self, cuts: int, *, deadline: float | None = None) -> Outcome:
        """So many cuts, several of each operation; each violation is kept and the folder made anew after it."""
        done, operations = 0, 0
        while done < cuts and (deadline is None or time.monotonic() < deadline):
            if operations % OPERATIONS_OF_ONE_FOLDER == 0:
                self._replace_backing(self._template)
            operations += 1
            words = self._operation()
            before, after, requests = self._do_whole(words)
            if before == after:
                continue  # it was refused, or there was nothing to do
            for _ in range(min(cuts - done, self._choose.randint(1, 4))):
                self._replace_backing(self._start)
                complaint = self._do_cut(words, before, after, self._choose.randint(1, requests))
                done += 1
                if complaint:
                    self.outcome.violations.append(f"seed {self._seed}, {' '.join(words)}: {complaint}")
                    operations = 0
                    break
        return self.outcome

    def _replace_backing(self, by: Path) -> None:
        shutil.rmtree(self.filesystem.backing)
        shutil.copytree(by, self.filesystem.backing, symlinks=True)

    # --- operations ---

    def _operation(self) -> Words:
        """One that may be done now, or may be refused: a refusal changes nothing."""
        choose = self._choose
        node = choose.choice(NODES)
        path = self.filesystem.path
        chap = ("--chap-user", "someone", "--chap-secret-file", str(self._secret))
        return choose.choice(
            [
                ("node", "add", f"new-[1-{choose.randint(1, 3)}]", "--image", "lab"),
                ("node", "add", f"own-{choose.randint(1, 9)}", "--image", "lab@2", *chap),
                ("node", "set", ",".join(NODES), "--image", f"lab@{choose.randint(1, 2)}"),
                ("node", "set", node, "--image", "lab", *chap),
                ("node", "set", "pc-4", *choose.choice((("--no-chap",), chap, ("--policy", "reset")))),
                ("node", "reset", choose.choice((node, ",".join(NODES))), "--yes"),
                ("node", "reset", ",".join(NODES), "--yes"),
                ("node", "remove", choose.choice((node, "pc-4", "pc-[2-3]")), "--yes"),
                ("image", "import", str(path / "source.raw"), "--name", choose.choice(("lab", "other"))),
                ("image", "import", str(path / "source.vhd"), "--name", "adopted", "--in-place"),
                ("image", "activate", f"lab@{choose.randint(1, 3)}"),
                ("image", "retire", f"lab@{choose.randint(1, 3)}"),
                ("image", "remove", f"lab@{choose.randint(2, 3)}", "--yes"),
                ("image", "remove", "other", "--all-versions", "--yes"),
            ]
        )

    def _do_whole(self, words: Words) -> tuple[State, State, int]:
        """The state before and after the whole operation, and how many changing requests it made.

        Leaves in `start` what the operation began with: disks of nodes with something in them.
        """
        with self.filesystem as mounted:
            self._write_disks()
            before = self._state()
            mounted.end()
        shutil.rmtree(self._start, ignore_errors=True)
        shutil.copytree(self.filesystem.backing, self._start, symlinks=True)
        with self.filesystem as mounted:
            self._do(words)
            requests = mounted.changing_requests()
            after = self._state()
            mounted.end()
        return before, after, requests

    def _do_cut(self, words: Words, before: State, after: State, request: int) -> str:
        """Cuts the power before that request; what is wrong afterwards, or ""."""
        choose = self._choose
        self.filesystem.writeback = choose.random() < 0.3
        self.filesystem.order = choose.choice(("strict", "strict", "journal"))
        with self.filesystem as mounted:
            if self._lie:
                mounted.tell("lie on")
            elif choose.random() < 0.9:
                mounted.tell(f"cut-after {request} {choose.getrandbits(48)}")
            code = self._do(words)
            lost = mounted.cut(choose.getrandbits(48), nothing=self._lie)
        self._launcher.lose_memory()
        how = f"cut before request {request} ({lost}, order={mounted.order}, writeback={mounted.writeback})"
        self.filesystem.writeback = False
        self.outcome.cuts[" ".join(words[:2])] += 1
        with self.filesystem as mounted:
            try:
                found = self._state()
            except Exception as error:
                return f"{how}: the data folder can't be used: {type(error).__name__}: {error}"
            mounted.end()
        self.outcome.happened[" ".join(words[:2])] += found == after
        if found == after or (found == before and code != 0):
            return ""
        if found == before:
            return f"{how}: the command said that it was done, and it was not"
        return f"{how}: unlike before: {found.difference(before)}; unlike after: {found.difference(after)}"

    def _do(self, words: Words) -> int:
        command = self._launcher.start(["--data", str(self.filesystem.path / "data"), *words], self._folder / "log")
        return command.finish()[0]

    # --- the state ---

    @contextmanager
    def _services(self) -> Iterator[Any]:
        services = open_services(self.filesystem.path / "data", PREFIX)
        try:
            services.volumes.journal.sweep()
            yield services
        finally:
            services.close()

    def _write_disks(self) -> None:
        """Puts something into every disk of a node, so that a disk that was replaced is not taken for the old one."""
        formats = Hooks().formats
        with self._services() as services:
            for path in sorted(services.volumes.overlays.glob("[!.]*.vhd")):
                opener = _Opener(formats)
                image = formats.open(f"vhd:{path}", "rw", opener)
                image.write(
                    self._choose.randrange(DISK_BYTES // 512) * 512, memoryview(path.name[:8].ljust(8).encode() * 64)
                )
                image.close()
                opener.close()

    def _state(self) -> State:
        """Clears up as the daemon does at its start, then looks at every record and file."""
        with self._services() as services:
            nodes = [_plain(asdict(node), "created_at", "seen_at", "used_bytes") for node in list_nodes(services)]
            versions = [_plain(asdict(one), "created_at", "hash", "sha256", "seal") for one in list_versions(services)]
            for version in list_versions(services):
                sealing.verify_sealed(version)
                sealing.verify_content(version, _unheard)
        return State(json.dumps(nodes), json.dumps(versions), frozenset(self._files()))

    def _files(self) -> Iterator[tuple[str, str]]:
        root = self.filesystem.path
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if not path.is_file() or path.name in LIVE or ".sqlite" in path.name or path.suffix == ".lock":
                continue
            kind = f"{path.stat().st_mode & 0o222:o} "
            if path.parent.name == "overlays" and path.suffix == ".vhd":
                complaints = Hooks().formats.check(f"vhd:{path}")
                if complaints:
                    raise AssertionError(complaints[0])
                # An empty child is its tables alone.
                kind += "fresh" if path.stat().st_size < 8192 else hashlib.sha256(path.read_bytes()).hexdigest()
            elif path.parent.name == "images":
                kind += "golden"
            else:
                kind += hashlib.sha256(path.read_bytes()).hexdigest()
            yield name, kind


class _Opener:
    """Opens parents of any disk, and closes them (goldherd.Opener)."""

    parent = None
    search = ()

    def __init__(self, formats: Any) -> None:
        self._formats = formats
        self._opened: list[Any] = []

    def known(self, identity: str) -> None:
        return None

    def open_parent(self, path: Path, format_name: str) -> Any:
        self._opened.append(self._formats.open(f"vhd:{path}", "r", self))
        return self._opened[-1]

    def close(self) -> None:
        for image in reversed(self._opened):
            image.close()


def _plain(record: dict[str, Any], *left_out: str) -> dict[str, str]:
    return {key: str(value) for key, value in record.items() if key not in left_out}


def _unheard(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody follows (model/progress.py)."""
