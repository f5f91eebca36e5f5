"""A VHD in words: what `image show` prints about a file."""

import uuid
from datetime import UTC, datetime

from goldherd_plugins.vhd import layout
from goldherd_plugins.vhd.survey import Survey, parent_names


def uuid_of(found: Survey) -> uuid.UUID:
    """The unique id, its bytes in file order (Windows tools show the first three fields swapped)."""
    return uuid.UUID(bytes=found.footer.unique_id)


def describe_survey(found: Survey) -> dict[str, object]:
    """The facts of a survey, ready for JSON."""
    footer = found.footer
    facts: dict[str, object] = {
        "path": found.path,
        "format": "vhd",
        "kind": found.kind,
        "size_bytes": found.size_bytes,
        "file_bytes": found.file_bytes,
        "uuid": str(uuid_of(found)),
        "created": datetime.fromtimestamp(footer.time_stamp + layout.EPOCH, UTC).isoformat(),
        "creator": footer.creator.decode("latin-1").rstrip(" \0"),
        "creator_version": f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}",
        "geometry": [footer.cylinders, footer.heads, footer.sectors_per_track],
        "saved_state": footer.saved_state == 1,
    }
    if found.header is not None:
        facts["block_bytes"] = found.header.block_bytes
    if names := parent_names(found):
        facts["parent_names"] = list(names)
    if found.header is not None and footer.disk_type == layout.DIFFERENCING:
        facts["parent_uuid"] = str(uuid.UUID(bytes=found.header.parent_id))
    return facts
