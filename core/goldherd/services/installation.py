"""The installation as a whole: whether the records fit the files, and which folders are its own."""

from goldherd.catalog import disks
from goldherd.catalog import images as records
from goldherd.errors import About, CatalogError, ErrorKind
from goldherd.services import answers, requests
from goldherd.services.context import Services
from goldherd.services.images import list_versions
from goldherd.volumes.overlays import Listing, node_of


def refuse_lost_records(services: Services) -> None:
    """Raises CatalogError when disks lie here that the catalog does not know, and none that it does.

    So does a data folder look whose catalog was deleted, emptied or taken from another installation. Serving it would
    refuse every machine, and new images could get the names of old disks.
    """
    known = {version.path for version in list_versions(services) if not version.in_place}
    goldens = set(services.volumes.images.glob("[!.]*@*.*"))
    disks = Listing(services.volumes).by_node
    if known & goldens or not (goldens or disks):
        return
    with services.catalog.read() as connection:
        if not goldens and records.totals(connection).versions:
            return  # every image was adopted where it is
    raise CatalogError(
        f"The catalog {services.catalog.path} knows none of the {len(goldens)} golden images and of the disks of "
        f"{len(disks)} nodes that lie beside it: restore the catalog from a backup, or have it made anew from what "
        "lies there.",
        kind=ErrorKind.RECORDS_LOST,
        about=(About("folder", str(services.data)),),
    )


def note_disks_that_lie_here(services: Services) -> None:
    """Notes the disks that the records do not know yet: those that an older goldherd made."""
    lying = set()
    for version, paths in Listing(services.volumes).by_version.items():
        image, _, number = version.rpartition("@")
        if number.isdigit():
            lying |= {(node_of(path), image, int(number)) for path in paths}
    with services.catalog.read() as connection:
        unknown = lying - disks.all_noted(connection)
    if unknown:
        with services.catalog.write() as connection:
            disks.note_each(connection, sorted(unknown))


def mark_volumes(services: Services, request: requests.MarkVolumes) -> answers.Marked:  # noqa: ARG001 - every line has one
    """doctor.mark_volumes."""
    services.mark_volumes()
    return answers.Marked(tuple(map(str, services.volumes.marked)))
