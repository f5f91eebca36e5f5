"""A version is verified: every byte of its file is compared with the hash that it was sealed with.

What was found is noted in the catalog. A file of other bytes is a changed one: no node gets it from then on. A file
whose bytes are all right is right whatever was noted before, and its times are taken as they are now.
"""

from typing import NamedTuple

from goldherd.catalog import images as records
from goldherd.errors import CatalogError, ErrorKind, ImageError
from goldherd.model.images import ImageRef, Outcome, Seal, VersionRecord
from goldherd.model.names import parse_image_ref
from goldherd.model.progress import Progress
from goldherd.services import answers, requests
from goldherd.services.context import Services
from goldherd.services.images import find_version, get_version
from goldherd.volumes import sealing

_UNDECIDED = (ErrorKind.CHANGED, ErrorKind.INVALID, ErrorKind.LIMIT)
"""Failures that say nothing of the file: a program writes to it, the hash is unknown, or the system lacks something."""


class Verified(NamedTuple):
    """What became of a version all of whose bytes are right."""

    version: VersionRecord
    renewed: bool
    """Its file looked otherwise than when it was sealed, which is taken as right now."""
    cleared: str | None
    """How it had been found changed; None: it had not."""


def verify(
    services: Services, ref: ImageRef, progress: Progress, hasher: sealing.Hasher = sealing.hash_here
) -> Verified:
    """Reads a version's file whole and compares it with its hash; notes what was found.

    Raises ImageError when a byte differs or can't be read, CatalogError when there is no such version.
    """
    version = get_version(services, ref)
    try:
        seal = sealing.verify_content(version, progress, hasher)
    except ImageError as error:
        if error.kind not in _UNDECIDED:
            _note(services, version, "changed" if error.kind is ErrorKind.DAMAGED else "unreadable")
        raise
    if seal.verity is None and version.seal.verity is not None and not version.in_place:
        sealing.protect(version.path, progress)
        seal = sealing.seal_of(version.path)
    _note(services, version, "right", seal)
    return Verified(version, seal != version.seal, version.changed)


def _note(services: Services, version: VersionRecord, outcome: Outcome, seal: Seal | None = None) -> None:
    """Notes what a look at every byte has found; a user who may only read the catalog notes nothing, and is refused
    when there is a new seal."""
    if services.catalog.read_only and seal in (None, version.seal):
        return
    with services.catalog.write() as connection:
        found = find_version(connection, services, version.ref)
        if outcome == "changed":
            records.note_changed(connection, found, sealing.OTHER_CONTENT)
        if seal is not None:
            records.set_seal(connection, found, seal)
        records.note_verified(connection, found, outcome)


def note_changed(services: Services, version: VersionRecord, how: str) -> None:
    """Notes that a version's file was found changed: no node gets it until it has been found right."""
    with services.catalog.write() as connection:
        try:
            found = find_version(connection, services, version.ref)
        except CatalogError as error:
            if error.kind is not ErrorKind.NOT_FOUND:  # removed meanwhile
                raise
            return
        records.note_changed(connection, found, how)


def verify_(services: Services, request: requests.VerifyImage, progress: Progress) -> answers.Verified:
    """image.verify."""
    version, renewed, cleared = verify(services, parse_image_ref(request.version), progress)
    return answers.Verified(
        version.name, version.hash, version.hash_algorithm, version.sha256, renewed, cleared is not None
    )
