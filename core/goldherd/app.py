"""Puts the parts together from settings; the only file that knows them all.

`export` and `serve` run until a signal ends them and return the exit code. They call `when_ready` when they accept
logins: what fails before is the command's one sentence, what happens after is the log's.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from goldherd import process
from goldherd.environment import TARGET_PREFIX
from goldherd.errors import GoldherdError
from goldherd.model.access import Peer
from goldherd.model.images import Formats
from goldherd.model.portals import Portal
from goldherd.model.targets import ChapCredentials, TargetConfig
from goldherd.settings import ExportSettings, ServerSettings, ServeSettings
from goldherd.supervisor import notify

if TYPE_CHECKING:
    from goldherd.services.context import Services
    from goldherd.target.handover.taking import Taking
    from goldherd.target.server import Server

log = structlog.get_logger("goldherd")

Ready = Callable[[Sequence[Portal]], None]
ReadSettings = Callable[[], ServerSettings]
"""Reads the settings anew; raises SettingsError when they can't be used."""


class OneTarget:
    """The directory of `export`: one target, given on the command line."""

    def __init__(self, target: TargetConfig) -> None:
        self._target = target

    async def find(self, target: str) -> TargetConfig | None:
        """The target, if that is its name."""
        return self._target if target == self._target.name else None

    async def visible_to(self, peer: Peer) -> Sequence[TargetConfig]:
        """The target."""
        return [self._target] if self._target.admits(peer) else []

    async def discovery_credentials(self) -> ChapCredentials | None:
        """Discovery asks for what the target asks for."""
        return self._target.credentials

    def node_seen(self, target: str, initiator: str, address: str) -> None:
        """Nothing is kept."""


def open_services(data: Path, prefix: str = TARGET_PREFIX) -> "Services":
    """The operations on a data folder, which is made when it is new; plugins load when the first of them needs one."""
    from goldherd.services.context import Services

    def find_formats() -> Formats:
        from goldherd.hooks import Hooks

        return Hooks().formats

    return Services(data, find_formats, prefix)


def export(settings: ExportSettings, when_ready: Callable[[], None]) -> int:
    """Serves one target until a signal; prints `ready URL` when it accepts logins."""
    from goldherd.hooks import Hooks
    from goldherd.target.server import Server

    server = Server(OneTarget(settings.target), settings.server, Hooks(), linger_seconds=None)

    async def check() -> None:
        async with server.targets.lock(settings.target.name):
            await server.targets.open(settings.target)  # what can't be opened is said now, not at a login

    def ready(portals: Sequence[Portal]) -> None:
        when_ready()
        name = settings.target.name
        for portal in portals:
            print(f"ready iscsi://{portal}/{name}/{settings.target.luns[0].lun}", flush=True)
        first = portals[0]
        print(
            f"Linux: iscsiadm -m discovery -t st -p {first} && iscsiadm -m node -T {name} -p {first} --login\n"
            f"iPXE:  sanboot iscsi:{first.host}::{first.port}:0:{name}\n"
            f"QEMU:  qemu-img info iscsi://{first}/{name}/0\n"
            "Ctrl-C ends it.",
            file=sys.stderr,
        )

    return _ended(run(server, ready, before=check))


def serve(
    settings: ServeSettings,
    when_ready: Callable[[], None],
    read_settings: ReadSettings,
    take_over: int | None = None,
) -> int:
    """Serves the nodes of a catalog until a signal; prints `ready HOST:PORT` for each portal.

    `take_over`: the descriptor by which a daemon that runs hands over to this one (target/handover/).
    """
    if take_over is None:
        return _ended(_serve(settings, when_ready, read_settings, None))
    from goldherd.target.handover.taking import Taking

    taking = Taking(take_over)
    with taking.telling():
        return _ended(_serve(settings, when_ready, read_settings, taking))


def _ended(code: int) -> int:
    """The exit code of a server that has stopped; the process ends here if the interpreter would wait for a thread."""
    if code or process.is_held_up():
        process.leave(code)
    return code


def _serve(
    settings: ServeSettings, when_ready: Callable[[], None], read_settings: ReadSettings, taking: "Taking | None"
) -> int:
    from goldherd.api.control import Control
    from goldherd.hooks import Hooks
    from goldherd.services.directory import CatalogDirectory
    from goldherd.services.goldens.upkeep import golden_upkeep
    from goldherd.services.installation import note_disks_that_lie_here, refuse_lost_records
    from goldherd.target.handover.giving import Giving
    from goldherd.target.server import Server

    with (
        open_services(settings.data, settings.server.target_prefix) as services,
        services.catalog,  # opened, or refused in a sentence, before anything else is made
        Control(settings.control_socket, taking.begin() if taking else None) as control,
    ):
        services.volumes.journal.sweep()
        services.check_volumes()
        refuse_lost_records(services)
        services.claim_volumes()
        note_disks_that_lie_here(services)
        directory = CatalogDirectory(services)
        state = settings.data / "reservations"
        state.mkdir(mode=0o700, exist_ok=True)
        try:
            server = Server(
                directory,
                settings.server,
                Hooks(),
                seals=directory,
                state=state,
                reset=directory.remove_disks,
                quotas=directory.quotas,
            )
            server.volumes.folders = services.volumes.marked
            services.live = server
            control.live = server

            giving = Giving(server, control.shared)

            async def upgrade() -> dict[str, Any]:
                answer = await giving.hand_over()
                notify(
                    MAINPID=answer.pid
                )  # before this process ends, or the supervisor takes that for the daemon's end
                control.leave()
                return asdict(answer)

            control.upgrade = upgrade

            def ready(portals: Sequence[Portal]) -> None:
                when_ready()
                if taking is None:  # the reader of the first process's output may be gone
                    for portal in portals:
                        print(f"ready {portal}", flush=True)

            async def prepare() -> None:
                if taking is not None:
                    await taking.prepare(server)

            async def start() -> list[Portal]:
                portals = await server.start(taking)
                await control.open()
                if taking is None:
                    notify(READY=1)
                else:
                    notify(MAINPID=os.getpid(), READY=1)
                return portals

            every, rate = settings.server.verify_every, settings.server.verify_rate
            with golden_upkeep(services, server.targets, every, rate) as server.also_tell:
                return run(server, ready, before=prepare, start=start, left=control.left, read_settings=read_settings)
        finally:
            directory.close()


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody caught: into the log with its traceback, for people only its last line."""
    log.error("something failed that nobody waits for", what=context["message"], exc_info=context.get("exception"))


def _read_again(server: "Server", read_settings: "ReadSettings | None") -> None:
    """What SIGHUP does to a daemon without a terminal. The log file needs nothing: it is opened for each line."""
    if read_settings is None:
        log.info("SIGHUP changes nothing here: the settings are those of the command line")
        return
    try:
        settings = read_settings()
    except GoldherdError as error:
        log.error("the settings stay as they are", reason=str(error))
        return
    changed, waiting = server.reconfigure(settings)
    tell = log.warning if waiting else log.info
    tell("the settings were read again", changed=changed, need_a_restart=waiting)


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


def run(
    server: "Server",
    ready: Ready,
    before: Callable[[], Awaitable[None]],
    start: Callable[[], Awaitable[Sequence[Portal]]] | None = None,
    left: asyncio.Event | None = None,
    read_settings: ReadSettings | None = None,
) -> int:
    """Runs a server on an event loop of its own until SIGTERM or SIGINT; a second one waits for no client.

    `start`: in place of the server's own start. `left`: set when another process has taken the server over.

    Returns the exit code: 0, or process.LEFT_BEHIND when a disk was left as it is. From the first signal on the process
    has so long to end as its settings give to clients and disks.

    SIGHUP of a terminal that is closed ends it as well. A daemon without a terminal reads its settings again.
    """

    import uvloop

    from goldherd.inhibitor import Inhibitor

    async def main() -> bool:
        stop = asyncio.Event()
        inhibiting: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report)

        def end() -> None:
            if stop.is_set():
                server.hurry()
            else:
                seconds = server.settings.shutdown_seconds + server.settings.shutdown_flush_seconds
                process.leave_after(seconds, partial(log.error, "the daemon ends without a part of it that hangs"))
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            read_again = partial(_read_again, server, read_settings)
            loop.add_signal_handler(signal.SIGHUP, end if process.has_terminal() else read_again)
        try:
            await before()
            ready(await (start or server.start)())
            if read_settings is not None:
                inhibiting = loop.create_task(Inhibitor(server.settings.inhibit).follow(server.nodes_running))
            await _first_of(stop, left or asyncio.Event())
        finally:
            if inhibiting is not None:
                inhibiting.cancel()
            if left is not None and left.is_set():
                whole = await server.leave()
            else:
                whole = await server.stop()
        return whole

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(main()) else process.LEFT_BEHIND
