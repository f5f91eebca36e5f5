"""A golden disk, three nodes, and clients that nobody here wrote: what goldherd does, in a minute.

Run it by scripts/demo, which sets up what it needs. Everything happens in a temporary folder and on
127.0.0.1; it is all gone at the end.
"""

import argparse
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

GOLDHERD = (sys.executable, "-m", "goldherd.cli.main")
NODES = "pc-[1-3]"
DISK_MIB = 32
MESSAGE = "Hello from the golden image.\n"
console = Console(highlight=False)


def step(text: str) -> None:
    """Says what comes next."""
    console.print(f"\n[bold]{text}[/bold]", soft_wrap=True)


def tell(text: str) -> None:
    """One line below a step; long ones are left to the terminal."""
    console.print(f"  {text}", soft_wrap=True)


def run(*command: str | Path, shown: str = "") -> str:
    """Shows a command as a user would type it, runs it, shows and gives what it prints."""
    words = [str(word) for word in command]
    tell(f"[cyan]$ {escape(shown or shlex.join(words))}[/cyan]")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    for line in done.stdout.splitlines():
        tell(escape(line))
    return done.stdout


def make_golden(folder: Path) -> Path:
    """A disk with an ext4 file system and one file, as a dynamic VHD."""
    root, raw, golden = folder / "root", folder / "golden.raw", folder / "golden.vhd"
    root.mkdir()
    (root / "hello.txt").write_text(MESSAGE)
    run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-d",
        root,
        raw,
        f"{DISK_MIB}M",
        shown="mke2fs -t ext4 -d root golden.raw",
    )
    convert = ("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on")
    run(*convert, raw, golden, shown="qemu-img convert -O vpc golden.raw golden.vhd")
    raw.unlink()
    return golden


class Herd:
    """The data folder of the demonstration and the daemon that serves it."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._log = folder / "goldherd.log"
        self._daemon: subprocess.Popen[str] | None = None
        self.portal = ""

    def command(self, *words: str | Path, shown: str = "") -> str:
        """A goldherd command on this folder."""
        typed = f"goldherd {shown or shlex.join(map(str, words))}"
        return run(*GOLDHERD, "--data", self._data, *words, shown=typed)

    def serve(self) -> None:
        """Starts the daemon on a free port and waits until it is ready."""
        tell("[cyan]$ goldherd serve --listen 127.0.0.1:0[/cyan]")
        command = [*GOLDHERD, "--data", str(self._data), "serve", "--listen", "127.0.0.1:0"]
        # A session of its own: Ctrl-C is ours to answer, and the daemon is stopped in good order.
        with self._log.open("w") as log:
            self._daemon = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert self._daemon.stdout is not None
        for line in self._daemon.stdout:
            tell(escape(line.rstrip()))
            if line.startswith("ready "):
                self.portal = line.split()[1]
                return
        raise SystemExit(f"goldherd serve ended before it was ready: {self._log.read_text()}")

    def stop(self) -> None:
        """Ends the daemon: clients are told, everything is flushed."""
        if self._daemon and self._daemon.poll() is None:
            self._daemon.send_signal(signal.SIGTERM)
            self._daemon.wait()

    def disk(self, node: str) -> str:
        """A node's disk as QEMU's initiator is told of it, with the name by which that node may log in."""
        return (
            f"driver=iscsi,transport=tcp,portal={self.portal},target=iqn.2026-11.io.goldherd:{node},lun=0,"
            f"initiator-name=iqn.2026-11.io.goldherd.node:{node}"
        )


def show_reading(herd: Herd, folder: Path) -> None:
    """pc-1 reads its whole disk and finds the file of the golden image on it."""
    step("pc-1 asks what there is for it: its own disk, and nothing else.")
    name = "iqn.2026-11.io.goldherd.node:pc-1"
    run("iscsi-ls", "-i", name, "--show-luns", f"iscsi://{herd.portal}")
    step("pc-1 reads its whole disk over iSCSI; the file of the golden image is on it.")
    copy = folder / "pc-1.raw"
    shown = f"qemu-img convert iscsi://{herd.portal}/iqn.2026-11.io.goldherd:pc-1/0 pc-1.raw"
    run("qemu-img", "convert", "--image-opts", herd.disk("pc-1"), "-O", "raw", copy, shown=shown)
    found = run("debugfs", "-R", "cat /hello.txt", copy, shown="debugfs -R 'cat /hello.txt' pc-1.raw")
    if found != MESSAGE:
        raise SystemExit(f"pc-1 read {found!r} instead of {MESSAGE!r}: that is a bug, please report it.")


def show_writing(herd: Herd, golden: Path) -> None:
    """What pc-1 writes it reads again; pc-2 and the golden image know nothing of it."""
    before = hashlib.sha256(golden.read_bytes()).hexdigest()
    step("pc-1 writes a megabyte of 0xA5 into its disk and reads it back ...")
    write = ("-c", "write -q -P 0xa5 16M 1M", "-c", "flush", "-c", "read -P 0xa5 16M 1M")
    shown = "qemu-io -c 'write -P 0xa5 16M 1M' -c flush -c 'read -P 0xa5 16M 1M' (the disk of pc-1)"
    run("qemu-io", "--image-opts", *write, herd.disk("pc-1"), shown=shown)
    step("... and pc-2 still has exactly the golden image.")
    image = f"driver=vpc,force_size_calc=current_size,file.driver=file,file.filename={golden}"
    compare = ("qemu-img", "compare", "--image-opts", image, herd.disk("pc-2"))
    run(*compare, shown="qemu-img compare golden.vhd (the disk of pc-2)")
    if hashlib.sha256(golden.read_bytes()).hexdigest() != before:
        raise SystemExit("The golden file has changed: that is a bug, please report it.")
    tell("The golden file's SHA-256 is what it was.")


def demonstrate(folder: Path, once: bool) -> None:
    """The whole show."""
    step("A golden disk: whatever you have as raw or VHD. Here, a small one is made.")
    golden = make_golden(folder)
    herd = Herd(folder)
    step("It is imported: checked, copied, sealed for ever as lab@1.")
    herd.command("image", "import", golden, "--name", "lab", shown="image import golden.vhd --name lab")
    step("Three nodes, each with a differencing VHD, a target and an access rule of its own.")
    herd.command("node", "add", NODES, "--image", "lab", shown=f"node add '{NODES}' --image lab")
    try:
        step("The nodes are served.")
        herd.serve()
        show_reading(herd, folder)
        show_writing(herd, golden)
        if not once:
            step(f"Serving pc-1, pc-2 and pc-3 at {herd.portal}. Ctrl-C ends it. From another terminal:")
            tell(f"iscsi-ls -i iqn.2026-11.io.goldherd.node:pc-2 -s iscsi://{herd.portal}")
            signal.pause()
    except KeyboardInterrupt:
        console.print()
    finally:
        step("Stopping: clients are told, everything is flushed, the temporary folder is removed.")
        herd.stop()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Shows goldherd at work.")
    parser.add_argument("--once", action="store_true", help="end by itself after showing, instead of serving on")
    options = parser.parse_args()
    # A terminated demonstration cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="goldherd-demo-") as folder:
        demonstrate(Path(folder), options.once)


if __name__ == "__main__":
    main()
