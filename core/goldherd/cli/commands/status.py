"""`goldherd status`: what the daemon is doing, and the catalog in numbers."""

from typing import TYPE_CHECKING, Any, Final

import typer

from goldherd.cli.commands.node import failed_text
from goldherd.cli.commands.plugins import fault_text
from goldherd.cli.context import context_of
from goldherd.cli.options import Json
from goldherd.cli.output import count_text, say, show_json, show_table, size_text

if TYPE_CHECKING:
    from goldherd.model.images import Totals

_SLOW_WORK: Final = {
    "commands": "carrying out commands",
    "messages": "messages of the control plane",
    "receive": "receiving from a socket",
    "send": "sending to a socket",
    "write": "writing to a disk's file",
    "timers": "looking after silent connections",
}
"""What `slow_steps` of the status call a reactor's work -> the same for people."""


def show(context: typer.Context, as_json: Json = False) -> None:
    """Shows whether the daemon runs, who is logged in, and what the catalog holds."""
    from goldherd.services.requests import ShowStatus

    found = context_of(context)
    found.check_folder()
    with found.glance() as client:
        status = client.ask(ShowStatus())
    numbers, daemon = status.catalog, status.daemon
    if as_json:
        show_json(
            {
                "running": status.running,
                "data": status.data,
                "catalog": {
                    "images": numbers.images,
                    "versions": numbers.versions,
                    "nodes": numbers.nodes,
                    "golden_bytes": numbers.golden_bytes,
                },
                "daemon": daemon,
                "withheld": status.withheld,
            }
        )
        return
    if status.withheld is not None:
        say(f"A daemon is running. {status.withheld}")
    elif daemon is None:
        say("No daemon is running for this data folder; 'goldherd serve' starts one.")
    else:
        _show_daemon(daemon)
    say(_catalog_text(numbers))


def _catalog_text(numbers: "Totals") -> str:
    return (
        f"Catalog: {count_text(numbers.images, 'image')}, {count_text(numbers.versions, 'version')} "
        f"({size_text(numbers.golden_bytes)}), {count_text(numbers.nodes, 'node')}."
    )


def _full_text(disk: dict[str, Any]) -> str:
    left = disk["fails_in_seconds"]
    then = f"they fail in {left:.0f} seconds" if left else "and they fail"
    return (
        f"The disk of {disk['node'] or disk['target']} has had no space for {disk['seconds']:.0f} seconds: "
        f"{count_text(disk['held_writes'], 'write')} wait, {then}. Make room where {disk['path']} lies."
    )


def _show_daemon(daemon: dict[str, Any]) -> None:
    say(f"Serving on {', '.join(map(str, daemon.get('portals', []))) or 'no address'}.")
    if daemon.get("draining"):
        say("It drains: no machine may begin to boot until 'goldherd drain --off'.")
    cache = daemon.get("cache") or {}
    if cache:
        say("Golden cache: " + ", ".join(f"{name} {_value_text(name, value)}" for name, value in cache.items()) + ".")
    for plugin in daemon.get("plugins", []):
        if plugin.get("faults"):
            say(fault_text(plugin["name"], plugin["faults"], plugin.get("last"), plugin.get("at")))
    for disk in daemon.get("failed_disks", []):
        say(failed_text(disk["node"] or disk["target"], disk["reason"]))
    for step in daemon.get("slow_steps", []):
        say(_slow_text(step))
    for volume in daemon.get("volumes", []):
        if volume["threshold"] != "ok":
            free, total = size_text(volume["free_bytes"]), size_text(volume["total_bytes"])
            say(f"The file system of {volume['path']} runs out of space: {free} of {total} are free.")
    for quota in daemon.get("quotas", []):
        kind = "hard" if quota["hard"] else "soft"
        say(f"The disk of {quota['node']} takes {size_text(quota['used_bytes'])}: its {kind} quota is used up.")
    for disk in daemon.get("full_disks", []):
        say(_full_text(disk))
    for fault in daemon.get("golden_faults", []):
        say(_golden_text(fault))
    if daemon.get("verifying"):
        under_way = daemon["verifying"]
        done, total = under_way["done_bytes"], under_way["total_bytes"]
        say(f"Verifying {under_way['version']}: {size_text(done)} of {size_text(total)}.")
    for node in daemon.get("silent_nodes", []):
        cycles = f", power-cycled {node['power_cycles']} times within the hour" if node["power_cycles"] else ""
        say(f"The node {node['node']} was up and has been silent for {node['seconds'] // 60} minutes{cycles}.")
    for path in daemon.get("lost_disks", []):
        say(f"The file {path} was removed or replaced while it is open: put it back before its machine logs out.")
    sessions = daemon.get("sessions", [])
    if not sessions:
        say("Nobody is logged in.")
        return
    columns = ("node", "address", "state", "initiator", "target")
    show_table(
        [column.upper() for column in columns],
        [[str(session.get(column) or "-") for column in columns] for session in sessions],
        dispensable=("TARGET", "INITIATOR", "STATE"),
    )


def _slow_text(step: dict[str, Any]) -> str:
    count, work = count_text(step["count"], "step"), _SLOW_WORK.get(step["doing"], step["doing"])
    return (
        f"Reactor {step['reactor']} took long for {count}, at most {step['longest_ms']} ms, mostly for {work}: "
        "all of its sessions waited."
    )


def _golden_text(fault: dict[str, Any]) -> str:
    """What is wrong with a golden image, who reads from it, and what to do."""
    name, nodes = fault["version"], fault["nodes"]
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    readers = f"{', '.join(nodes[:3])}{more} {'reads' if len(nodes) == 1 else 'read'}" if nodes else "no node reads"
    if fault["kind"] != "changed":
        return f"{name} can't be used now ({fault['reason']}); {readers} from it. See to {fault['path']}."
    return (
        f"{name} was changed after it was sealed ({fault['reason']}), so no node can log in to it; {readers} from it. "
        f"Restore {fault['path']} from a backup, unless it is right as it is; 'goldherd image verify {name}' reads "
        "every byte and lets nodes use it again if all are right."
    )


def _value_text(name: str, value: Any) -> str:
    return size_text(value) if name.endswith("bytes") and isinstance(value, int) else str(value)
