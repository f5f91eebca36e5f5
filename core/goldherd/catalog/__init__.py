"""Images, versions, nodes and rules: what there is, kept in SQLite and files, told in plain records.

Knows no protocol and no image format: formats come in as a `Formats` (goldherd.hooks.Hooks is one). Start
reading at store.py for what lies where, at leftovers.py for why nothing half-made stays, at directory.py for
the server.
"""

from goldherd.catalog.directory import CatalogDirectory, SealedFile
from goldherd.catalog.nodes import NodeWishes, Outcome
from goldherd.catalog.store import Catalog
from goldherd.model.images import Formats, ImageRef, Seal, State, Totals, VersionRecord
from goldherd.model.nodes import ANY_INITIATOR, POLICIES, NodeRecord, Policy
from goldherd.model.progress import Progress

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
