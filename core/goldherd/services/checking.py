"""Whether the disks of nodes are sound, and the end of a failure: a disk that was checked takes writes again."""

from collections.abc import Collection, Mapping
from pathlib import Path

from goldherd.catalog import disks as disk_records
from goldherd.errors import About, CatalogError, ErrorKind, ImageError
from goldherd.limits import LINGER_SECONDS
from goldherd.model.names import expand_nodes
from goldherd.model.progress import Progress
from goldherd.services import answers, requests
from goldherd.services.context import Services
from goldherd.services.nodes import list_nodes
from goldherd.volumes.checking import check_file
from goldherd.volumes.overlays import Listing


def check_(services: Services, request: requests.CheckNodes, progress: Progress) -> answers.CheckedDisks:
    """node.check. It reads all disks of the nodes, those on earlier versions too; one that is gone is an error."""
    services.check_volumes()
    nodes = list_nodes(services, expand_nodes(list(request.nodes)))
    listing = Listing(services.volumes)
    _refuse_absent(services, {node.name: listing.of(node.name) for node in nodes})
    found = []
    for node in nodes:
        for path in listing.of(node.name):
            try:
                checked = check_file(services.formats, path, clear=request.clear, progress=progress)
            except ImageError as error:
                if error.kind is not ErrorKind.IN_USE:
                    raise
                raise CatalogError(
                    f"{node.name} can't be checked: its disk is in use; shut the machine down first, and wait "
                    f"{LINGER_SECONDS:g} seconds.",
                    kind=ErrorKind.IN_USE,
                    about=(About("node", node.name), About("file", str(path))),
                ) from None
            found.append(
                answers.CheckedDisk(
                    node.name, str(path), checked.failure, checked.faults, checked.read_bytes, checked.cleared
                )
            )
    return tuple(found)


def _refuse_absent(services: Services, disks: Mapping[str, Collection[Path]]) -> None:
    """Raises CatalogError (kind absent) when a node has had a disk on a version, and its file is not there."""
    with services.catalog.read() as connection:
        noted = disk_records.all_noted(connection)
    for name, image, number in sorted(noted):
        begin = f"{name}.{image}@{number}."
        if name in disks and not any(path.name.startswith(begin) for path in disks[name]):
            raise CatalogError(
                f"The disk of {name} on {image}@{number} was there before and is gone; restore it, or reset the node, "
                "which forgets it.",
                kind=ErrorKind.ABSENT,
                about=(About("node", name), About("image", f"{image}@{number}")),
            )
