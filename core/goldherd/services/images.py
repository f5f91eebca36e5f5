"""Images and their versions: looking them up, choosing the active one, retiring and removing them.

How a file becomes a version stands in importing.py, how it is found unchanged in goldens/.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Connection

from goldherd.catalog import images as records
from goldherd.catalog.store import CATALOG_FILE
from goldherd.errors import About, CatalogError, ErrorKind, ImageError
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.model.names import check_image_name, natural_key, parse_image_ref
from goldherd.services import answers, requests
from goldherd.services.context import Services
from goldherd.volumes import overlays, sealing


def list_versions(services: Services, image: str | None = None) -> list[VersionRecord]:
    """All versions, or those of one image, by name and number; CatalogError when there is no such image."""
    with services.catalog.read() as connection:
        found = records.list_versions(connection, services.data, image)
    if image is not None and not found:
        raise unknown_image(ImageRef(image, None))
    return found


def get_version(services: Services, ref: ImageRef) -> VersionRecord:
    """The version a reference means: the numbered one, or the active one when there is no number."""
    with services.catalog.read() as connection:
        return find_version(connection, services, ref)


def find_version(connection: Connection, services: Services, ref: ImageRef) -> VersionRecord:
    """Like get_version, inside a transaction."""
    version = records.find_version(connection, services.data, ref)
    if version is not None:
        return version
    if ref.number is not None or not records.has_image(connection, ref.image):
        raise unknown_image(ref)
    raise CatalogError(
        f"The image {ref.image} has no active version: activate one, or name a version.",
        kind=ErrorKind.NO_ACTIVE_VERSION,
        about=(About("image", ref.image),),
    )


def version_at(services: Services, path: Path) -> VersionRecord | None:
    """The sealed version that a file is, whatever name (link) it is reached by; None for any other file."""
    # No record holds a path that is no text: an adopted file must have one that is (importing.py).
    stored = [services.catalog.stored(name) for name in (path.absolute(), path.resolve()) if is_text(name)]
    with services.catalog.read() as connection:
        version = records.version_stored_as(connection, services.data, stored)
        if version is not None or not path.exists():
            return version
        # A hard link has another name and the same size: few rows, so few files to look at.
        same = records.versions_of_length(connection, services.data, path.stat().st_size)
    return next((version for version in same if version.path.exists() and version.path.samefile(path)), None)


def is_text(path: Path) -> bool:
    """Whether a path is UTF-8, as a record or a disk's own pointer to its parent must hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def version_like(services: Services, path: Path) -> VersionRecord | None:
    """The sealed version with this file's size and guard hash: the file itself or one it was copied to."""
    found = version_at(services, path)
    if found is not None:
        return found
    seal = sealing.seal_of(path)
    with services.catalog.read() as connection:
        return records.version_sealed_as(connection, services.data, seal)


def sealed_version_at(services: Services, path: Path) -> VersionRecord | None:
    """Like version_at, once the file was found unchanged; ImageError when it was changed since it was sealed."""
    version = version_at(services, path)
    if version is not None:
        sealing.verify_sealed(version)
    return version


def activate(services: Services, ref: ImageRef) -> bool:
    """Makes a version what the next login of every following node gets; False when it is already."""
    with services.catalog.write() as connection:
        version = find_version(connection, services, ref)
        if version.state == "active":
            return False
        sealing.verify_sealed(version)
        records.activate(connection, version)
        return True


def retire(services: Services, ref: ImageRef) -> bool:
    """Takes a version out of use; its file stays. False when it is retired already."""
    with services.catalog.write() as connection:
        version = find_version(connection, services, ref)
        if version.state == "retired":
            return False
        _refuse_if_used(connection, version, "retired")
        records.set_state(connection, version, "retired")
        return True


def remove(services: Services, ref: ImageRef, *, all_versions: bool = False, dry_run: bool = False) -> answers.Removed:
    """Forgets a version, or all of an image's, with the overlays made on them, unless a machine has one open.

    Files that were adopted in place stay where they are. A dry run refuses what the removal would refuse.
    """
    if ref.number is None and not all_versions:
        raise CatalogError(
            f"'{ref}' names an image, not a version: name one as {ref}@NUMBER, or say that all of them go.",
            kind=ErrorKind.UNCONFIRMED,
            about=(About("image", ref.image),),
        )
    with ExitStack() as stack:
        targets = [get_version(services, ref)] if ref.number is not None else list_versions(services, ref.image)
        listing = overlays.Listing(services.volumes)
        children = [path for version in targets for path in listing.on(version.name)]
        doomed = [version.path for version in targets if not version.in_place]
        # A sealed file is only ever read: who has it open keeps it until it is closed. Its children are written.
        stack.enter_context(overlays.holding(children, f"{ref} is not removed"))
        answer = answers.Removed(
            names=tuple(version.name for version in targets),
            files=tuple(str(path) for path in (*doomed, *children)),
            disks=len(children),
            kept=tuple(str(version.path) for version in targets if version.in_place),
            dry_run=dry_run,
        )
        if dry_run:
            with services.catalog.read() as connection:
                _refuse_removal(connection, services, targets, ref)
            return answer
        change = stack.enter_context(services.changing())
        change.remove([*doomed, *children])
        with services.deciding(change.id) as connection:
            _refuse_removal(connection, services, targets, ref)
            # The newest first: a child goes before the parent it was imported on.
            for version in sorted(targets, key=lambda version: -version.number):
                records.delete_version(connection, version)
            if not records.has_versions(connection, ref.image):
                records.delete_image(connection, ref.image)
        return answer


def _refuse_removal(connection: Connection, services: Services, targets: list[VersionRecord], ref: ImageRef) -> None:
    """Raises CatalogError unless all these versions may go, as the records are now."""
    going = {version.name for version in targets}
    for version in sorted(targets, key=lambda version: -version.number):
        _refuse_if_used(connection, find_version(connection, services, version.ref), "removed")
        children = [name for name in records.children_of(connection, version) if name not in going]
        if children:
            raise CatalogError(
                f"{version.name} is not removed: {children[0]} is a differencing child of it; remove that first.",
                kind=ErrorKind.IN_USE,
                about=(About("version", version.name), About("version", children[0])),
            )
    rest = {version.name for version in records.list_versions(connection, services.data, ref.image)} - going
    names = [] if rest else records.nodes_of_image(connection, ref.image)
    if names:
        raise CatalogError(
            f"{ref.image} is not removed: it is the image of {_named(sorted(names))}; remove the nodes or set "
            "them to another image first.",
            kind=ErrorKind.IN_USE,
            about=(About("image", ref.image), *(About("node", name) for name in names)),
        )


def unknown_image(ref: ImageRef) -> CatalogError:
    """The refusal for a name that is not in the catalog."""
    what = "image" if ref.number is None else "version"
    return CatalogError(
        f"There is no {what} {ref}: check the name.", kind=ErrorKind.NOT_FOUND, about=(About(what, str(ref)),)
    )


def in_the_way(path: Path) -> CatalogError:
    """The refusal to overwrite a file that no record knows."""
    return CatalogError(
        f"{path} is in the way: the catalog does not know this file, so move it away.",
        kind=ErrorKind.EXISTS,
        about=(About("file", str(path)),),
    )


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _refuse_if_used(connection: Connection, version: VersionRecord, doing: str) -> None:
    names = sorted(records.users_of(connection, version), key=natural_key)
    if names:
        raise CatalogError(
            f"{version.name} is not {doing}: it is the disk of {_named(names)}; activate another version, or "
            "remove the nodes or set them to another image first.",
            kind=ErrorKind.IN_USE,
            about=(About("version", version.name), *(About("node", name) for name in names)),
        )


# --- the lines of the table of operations ---


def list_(services: Services, request: requests.ListImages) -> answers.VersionRecords:
    """image.list."""
    return tuple(list_versions(services, None if request.image is None else check_image_name(request.image)))


def show(services: Services, request: requests.ShowImage) -> answers.VersionDetails:
    """image.show."""
    version = get_version(services, parse_image_ref(request.version))
    with services.catalog.read() as connection:
        users = records.users_of(connection, version)
    return answers.VersionDetails(version, tuple(sorted(users, key=natural_key)), _fault_of(version))


def find(services: Services, request: requests.FindImage) -> answers.FoundFile:
    """image.find. A data folder without a catalog knows no file, and none is made."""
    path = Path(request.file)
    try:
        protected = sealing.is_write_protected(path)
    except (OSError, ValueError) as error:
        reason = f"There is no file {path}: check the name."
        raise ImageError(reason, path=str(path), kind=ErrorKind.NOT_FOUND) from error
    known = (services.data / CATALOG_FILE).is_file()
    return answers.FoundFile(sealed_version_at(services, path) if known else None, protected)


def activate_(services: Services, request: requests.ActivateImage) -> answers.Changed:
    """image.activate."""
    ref = _numbered(request.version)
    return answers.Changed(str(ref), activate(services, ref))


def retire_(services: Services, request: requests.RetireImage) -> answers.Changed:
    """image.retire."""
    ref = _numbered(request.version)
    return answers.Changed(str(ref), retire(services, ref))


def remove_(services: Services, request: requests.RemoveImage) -> answers.Removed:
    """image.remove."""
    ref = parse_image_ref(request.version)
    return remove(services, ref, all_versions=request.all_versions, dry_run=request.dry_run)


def _fault_of(version: VersionRecord) -> str | None:
    """What keeps a version from being used now, as a sentence; None: nothing that a quick look shows."""
    try:
        sealing.verify_sealed(version)
    except ImageError as error:
        hidden = isinstance(error.__cause__, PermissionError)  # from this user only
        return None if hidden else str(error)
    return None


def _numbered(text: str) -> ImageRef:
    ref = parse_image_ref(text)
    if ref.number is None:
        raise CatalogError(
            f"'{text}' names an image, not a version: write {text}@NUMBER.",
            kind=ErrorKind.INVALID,
            about=(About("image", ref.image),),
        )
    return ref
