"""Whether the disks of nodes are sound, and the end of a failure: a disk that was checked takes writes again."""

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
    """node.check. It reads all disks of the nodes, those on earlier versions too."""
    nodes = list_nodes(services, expand_nodes(list(request.nodes)))
    listing = Listing(services.volumes)
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
