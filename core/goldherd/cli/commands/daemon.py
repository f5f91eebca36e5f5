"""`goldherd drain` and `goldherd stop`: the end of a daemon in good order."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from goldherd.cli.context import context_of
from goldherd.cli.options import Json
from goldherd.cli.output import complain, count_text, say, show_json
from goldherd.limits import STOP_POLL_SECONDS

if TYPE_CHECKING:
    from goldherd.client import Client
    from goldherd.services.answers import Drained


def drain(
    context: typer.Context,
    off: Annotated[bool, typer.Option("--off", help="Let machines boot again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until no node runs from here.")] = False,
    as_json: Json = False,
) -> None:
    """Lets no machine begin to boot from here, and says when the daemon can be stopped. Running nodes go on."""
    from goldherd.services.requests import Drain

    found = context_of(context)
    found.check_folder()
    with found.glance() as client:
        state = client.ask(Drain(off))
        if wait and not off:
            state = _wait(client, state)
    if as_json:
        show_json({"draining": state.draining, "nodes": list(state.nodes), "safe": state.safe})
    elif state.safe:
        say("Safe to stop: no node runs from here.")
    elif state.draining:
        say(f"No machine may begin to boot. {_nodes_text(state.nodes)}; 'goldherd drain --wait' waits for them.")
    else:
        say("Machines may boot.")


def _wait(client: "Client", state: "Drained") -> "Drained":
    """Asks until no node runs; tells on stderr each time that fewer or other ones do."""
    from goldherd.services.requests import Drain

    told: tuple[str, ...] = ()
    while not state.safe:
        if state.nodes != told:
            told = state.nodes
            complain(f"{_nodes_text(told)}.")
        time.sleep(10 * STOP_POLL_SECONDS)
        state = client.ask(Drain())
    return state


def _nodes_text(nodes: tuple[str, ...]) -> str:
    from goldherd.model.names import listed

    if not nodes:
        return "No node runs from here"
    verb = "runs" if len(nodes) == 1 else "run"
    return f"{count_text(len(nodes), 'node')} {verb} from here: {listed(nodes)}"


def stop(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", "--yes", "-y", help="Stop although nodes run from here; they wait for a daemon.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stops the daemon and waits until it has ended. Refuses while nodes run from it."""
    from goldherd.services.requests import StopDaemon

    found = context_of(context)
    found.check_folder()
    with found.glance() as client:
        done = client.ask(StopDaemon(force))
    if as_json:
        show_json({"pid": done.pid, "nodes": list(done.nodes)})
    else:
        waiting = f" {count_text(len(done.nodes), 'node')} ran from it and now wait for a daemon." if done.nodes else ""
        say(f"The daemon (process {done.pid}) has ended.{waiting}")
