"""What a face may ask before it opens the services: names for completion and the catalog's totals, read-only."""

from pathlib import Path

from goldherd.catalog import glance
from goldherd.model.images import Totals


def node_names(data: Path) -> list[str]:
    """The names of all nodes; empty when the folder has no catalog."""
    return glance.node_names(data)


def image_names(data: Path) -> list[str]:
    """The names of all images, and of their versions as `name@number`."""
    versions = glance.version_names(data)
    return [*{name.partition("@")[0] for name in versions}, *versions]


def totals(data: Path) -> Totals:
    """The catalog in numbers; needs no write permission."""
    return Totals(*glance.totals(data))
