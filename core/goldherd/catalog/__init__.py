"""Images, versions, nodes and rules: what there is, kept in SQLite and files, told in plain records.

Knows no protocol and no image format: formats come in as a `Formats` (goldherd.hooks.Hooks is one). Start
reading at store.py for what lies where, at leftovers.py for why nothing half-made stays, at directory.py for
the server.
"""

from goldherd.catalog.directory import CatalogDirectory, SealedFile
from goldherd.catalog.nodes import NodeWishes, Outcome
from goldherd.catalog.records import (
    ANY_INITIATOR,
    POLICIES,
    Formats,
    ImageRef,
    NodeRecord,
    Policy,
    Progress,
    Seal,
    State,
    Totals,
    VersionRecord,
)
from goldherd.catalog.store import Catalog

__all__ = [
    "ANY_INITIATOR",
    "POLICIES",
    "Catalog",
    "CatalogDirectory",
    "Formats",
    "ImageRef",
    "NodeRecord",
    "NodeWishes",
    "Outcome",
    "Policy",
    "Progress",
    "Seal",
    "SealedFile",
    "State",
    "Totals",
    "VersionRecord",
]
