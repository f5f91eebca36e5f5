"""Makes a catalog from what lies in the data folder, when the old one was lost.

Golden files tell image and number by their names, and their size, bytes and parent by the plugin that opens them. Disks
of nodes tell node and version by their names. What stood in the records only is gone, and the answer says so.
"""

import re
import secrets as randomness
from pathlib import Path
from typing import Final

from goldherd.catalog import disks as disk_records
from goldherd.catalog import images as image_records
from goldherd.catalog import installation as installations
from goldherd.catalog import nodes as node_records
from goldherd.catalog.store import CATALOG_FILE, Catalog, now
from goldherd.errors import CatalogError, ErrorKind, GoldherdError, ImageError
from goldherd.model.images import CONTENT_HASH, ImageRef, VersionRecord
from goldherd.model.installation import Installation
from goldherd.model.names import check_node_name, natural_key, parse_image_ref
from goldherd.model.progress import Progress
from goldherd.services import answers, requests
from goldherd.services.context import Services
from goldherd.services.importing import opened
from goldherd.volumes import goldens, marks, sealing
from goldherd.volumes.overlays import Listing, holding

_REBUILT: Final = "catalog.rebuilt.sqlite"
_NUMBERED: Final = re.compile(r"[^@]+@[1-9]\d{0,8}")


def rebuild(services: Services, request: requests.RebuildCatalog, progress: Progress) -> answers.Rebuilt:
    """doctor.rebuild_catalog. The new catalog is built beside the old one, which is moved aside at the end."""
    listing = Listing(services.volumes)
    versions, unknown = _named_versions(services)
    with holding([path for paths in listing.by_node.values() for path in paths], "No catalog is made"):
        if request.dry_run:
            found = sorted((f"{ref}" for ref in versions), key=natural_key)
            nodes = sorted(listing.by_node, key=natural_key)
            return answers.Rebuilt(tuple(found), tuple(nodes), tuple(unknown), None, dry_run=True)
        services.close()
        _remove_database(services.data / _REBUILT)
        known = _installation_of(services, listing)
        with Catalog(services.data, _REBUILT) as catalog:
            services.catalog = catalog
            if known is not None:
                with catalog.write() as connection:
                    installations.replace(connection, known)
            sealed = _record_versions(services, versions, unknown, progress)
            made = _record_nodes(services, listing, sealed, unknown)
        moved = _move_aside(services.data)
        (services.data / _REBUILT).rename(services.data / CATALOG_FILE)
        # Both are found anew, under the database's own name, by what needs them next.
        del services.catalog
        services.__dict__.pop("installation", None)
    return answers.Rebuilt(tuple(sealed), made, tuple(unknown), moved, dry_run=False)


def _installation_of(services: Services, listing: Listing) -> Installation | None:
    """Which installation the files belong to, by the marks of their folders; None when they begin a new one."""
    for folder in services.volumes.marked:
        found = marks.installation_of(folder)
        if found is not None:
            return found
    # Machines know the disks of an installation that was never marked by names without an id.
    return Installation(randomness.token_hex(16), names_disks=False) if listing.by_node else None


def _named_versions(services: Services) -> tuple[dict[ImageRef, Path], list[str]]:
    """The golden files whose names say what they are; a sentence for each other file."""
    versions, unknown = {}, []
    for path in sorted(services.volumes.images.iterdir(), key=lambda path: natural_key(path.name)):
        if path.suffix and _NUMBERED.fullmatch(path.stem):
            versions[parse_image_ref(path.stem)] = path
        elif not path.name.startswith("."):
            unknown.append(f"{path} has no name of the form NAME@NUMBER.FORMAT and is left out.")
    return versions, unknown


def _record_versions(
    services: Services, versions: dict[ImageRef, Path], unknown: list[str], progress: Progress
) -> list[str]:
    """Writes the versions, parents before their children; gives their names."""
    waiting = dict(versions)
    reasons: dict[ImageRef, GoldherdError] = {}
    while waiting:
        written = []
        for ref, path in waiting.items():
            try:
                _record_version(services, ref, path, progress)
            except (ImageError, OSError) as error:
                reasons[ref] = error if isinstance(error, GoldherdError) else ImageError(f"{path}: {error.strerror}.")
                continue
            written.append(ref)
        if not written:
            break
        for ref in written:
            del waiting[ref]
    unknown += [f"{ref} is left out: {reasons[ref]}" for ref in waiting]
    sealed = sorted((ref for ref in versions if ref not in waiting), key=lambda ref: (ref.image, ref.number or 0))
    with services.catalog.write() as connection:
        for image, number in {ref.image: ref.number for ref in sealed}.items():
            newest = image_records.find_version(connection, services.data, ImageRef(image, number))
            if newest is not None:
                image_records.activate(connection, newest)
    if sealed:
        unknown.append("Which versions were active or retired is not known: the newest of each image is active now.")
        unknown.append("Which filters a version's disks had is not known: they have none now.")
        unknown.append("Images that were adopted where they are do not lie here: import them again.")
    return [str(ref) for ref in sealed]


def _record_version(services: Services, ref: ImageRef, path: Path, progress: Progress) -> None:
    number = ref.number or 0
    form = path.suffix.removeprefix(".")  # the catalog names files by their formats
    with opened(services, path, form) as (image, opener):
        size_bytes, parent = image.size_bytes, opener.first
    hashes = goldens.hash_adopted(path, progress)
    sealing.make_read_only(path)
    version = VersionRecord(
        image=ref.image,
        number=number,
        state="sealed",
        path=path,
        format=form,
        size_bytes=size_bytes,
        hash=hashes.chunked,
        hash_algorithm=CONTENT_HASH,
        source_hash=hashes.chunked,
        sha256=hashes.plain,
        source_sha256=hashes.plain,
        seal=sealing.seal_of(path),
        in_place=False,
        parent=None if parent is None else parent.name,
        created_at=now(),
    )
    with services.catalog.write() as connection:
        image_records.take_number(connection, ref.image, number)
        image_records.insert_version(connection, version, services.catalog.stored(path), parent)


def _record_nodes(services: Services, listing: Listing, sealed: list[str], unknown: list[str]) -> tuple[str, ...]:
    """Writes the nodes that have a disk on a version that was found; gives their names."""
    made = []
    for node, paths in sorted(listing.by_node.items(), key=lambda item: natural_key(item[0])):
        names = [path.stem.partition(".")[2] for path in paths]
        found = [name for name in sealed if name in names]
        try:
            check_node_name(node)
        except CatalogError as error:
            unknown.append(str(error))
            continue
        if not found:
            unknown.append(f"{node} is left out: its disks are of {', '.join(names)}, which is not here.")
            continue
        # The disk that was written last is that of the version which the node ran last.
        written = {parse_image_ref(name): 0.0 for name in found}
        for ref in written:
            written[ref] = paths[names.index(str(ref))].stat().st_mtime
        latest = max(written, key=lambda ref: (written[ref], ref.number))
        with services.catalog.write() as connection:
            version = image_records.find_version(connection, services.data, latest)
            if version is None:
                raise CatalogError(f"{latest} went away meanwhile: do it again.", kind=ErrorKind.BUSY)
            # A node that had to prove itself must go on doing so, if by a user name that has to be mended.
            chap_user = node if services.volumes.secret(node).exists() else None
            node_records.insert_nodes(
                connection,
                version,
                {node: (f"initiator:{services.initiator_name(node)}",)},
                pinned=version.state != "active",
                policy="keep",
                chap_user=chap_user,
            )
            disk_records.note_each(connection, [(node, ref.image, ref.number or 0) for ref in written])
        if chap_user is not None:
            unknown.append(f"The CHAP user name of {node} is not known: it is {node} now.")
        made.append(node)
    if made:
        unknown.append("Access rules, MAC addresses and policies of nodes are not known: set them again.")
    return tuple(made)


def _move_aside(data: Path) -> str | None:
    """Moves the old database away, under a name that is free."""
    old = data / CATALOG_FILE
    if not old.exists():
        _remove_database(old)
        return None
    number = 1
    while (aside := data / f"{CATALOG_FILE}.old-{number}").exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        part = old.with_name(old.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return str(aside)


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
