"""The table of operations: everything a person or a program can ask of goldherd, each once, below all faces.

A line says what is asked and answered, which role may ask, the HTTP method and path, and which function does it. The
command line, the routes, the client, the audit entries and the documentation are made from it, or checked against it.
Importing the table costs nothing heavy: a line names its function (`module:function` below services/), and `run`
loads it when the operation is asked for.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from goldherd.errors import shortages_named
from goldherd.model.images import VersionRecord
from goldherd.model.progress import Progress, silent
from goldherd.services import answers, requests

if TYPE_CHECKING:
    from goldherd.services.context import Services


class Role(StrEnum):
    """Who may ask: each role may also do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table."""

    name: str
    """`noun.verb`; also that of its audit entries."""
    summary: str
    """One sentence for people."""
    request: type
    answer: Any
    """The type of the answer; a tuple of records for a list."""
    function: str
    """`module:function` below goldherd.services; it takes (Services, request), and Progress when it is a job."""
    role: Role
    method: str
    path: str
    """Fields of the request in braces are part of the path."""
    job: bool = False
    """Whether it takes long, tells its progress and can be cancelled."""
    removes_data: bool = False
    """Whether data may be gone afterwards: a face asks first, and its request has a dry run."""

    def load(self) -> Callable[..., Any]:
        """The function that does it."""
        module, _, name = self.function.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(f"goldherd.services.{module}"), name)
        return found


_VIEWER, _OPERATOR, _ADMIN = Role
_GET, _POST, _PATCH, _DELETE = "GET", "POST", "PATCH", "DELETE"

# fmt: off
TABLE: Final[tuple[Operation, ...]] = (
    # --- images ---
    Operation("image.import", "Checks a disk image and seals it as the next version.",
              requests.ImportImage, VersionRecord, "importing:import_", _ADMIN, _POST,
              "/images/{name}/versions", job=True),
    Operation("image.list", "Lists all versions of all images.",
              requests.ListImages, answers.VersionRecords, "images:list_", _VIEWER, _GET, "/images"),
    Operation("image.show", "Shows one version and the nodes that get it.",
              requests.NameVersion, answers.VersionDetails, "images:show", _VIEWER, _GET, "/images/{version}"),
    Operation("image.verify", "Reads a version's whole file and compares it with the SHA-256 it was sealed with.",
              requests.NameVersion, answers.Verified, "images:verify_", _OPERATOR, _POST,
              "/images/{version}/verify", job=True),
    Operation("image.activate", "Makes a version what the next login of every following node gets.",
              requests.NameVersion, answers.Changed, "images:activate_", _OPERATOR, _POST,
              "/images/{version}/activate"),
    Operation("image.retire", "Takes a version out of use; its file is kept.",
              requests.NameVersion, answers.Changed, "images:retire_", _OPERATOR, _POST,
              "/images/{version}/retire"),
    Operation("image.remove", "Removes a version, or all of an image, with the disks that nodes kept on it.",
              requests.RemoveImage, answers.Removed, "images:remove_", _ADMIN, _DELETE, "/images/{version}",
              removes_data=True),

    # --- nodes ---
    Operation("node.add", "Makes nodes, each with a disk, a target and an access rule.",
              requests.AddNodes, answers.Added, "nodes:add_", _OPERATOR, _POST, "/nodes"),
    Operation("node.set", "Changes nodes: only what is named.",
              requests.SetNodes, answers.NodesChanged, "nodes:set_", _OPERATOR, _PATCH, "/nodes/{nodes}"),
    Operation("node.list", "Lists nodes.",
              requests.ListNodes, answers.NodeRecords, "nodes:list_", _VIEWER, _GET, "/nodes"),
    Operation("node.show", "Shows nodes with everything that is known of them, but never a secret.",
              requests.NameNodes, answers.NodeRecords, "nodes:show", _VIEWER, _GET, "/nodes/{nodes}"),
    Operation("node.reset", "Gives nodes a fresh disk on their present version; what they wrote is thrown away.",
              requests.ClearNodes, answers.Reset, "nodes:reset_", _OPERATOR, _POST, "/nodes/{nodes}/reset",
              removes_data=True),
    Operation("node.remove", "Removes nodes with their disks and secrets.",
              requests.ClearNodes, answers.Removed, "nodes:remove_", _OPERATOR, _DELETE, "/nodes/{nodes}",
              removes_data=True),

    # --- the installation ---
    Operation("status", "Shows what the catalog holds and who is logged in.",
              requests.Nothing, answers.Status, "installation:status", _VIEWER, _GET, "/status"),
    Operation("plugins", "Lists the plugins in use, and those declined with the reason.",
              requests.Nothing, tuple[answers.Plugin, ...], "installation:plugins", _VIEWER, _GET, "/plugins"),
    Operation("doctor.mark_volumes", "Marks the folders of images and disks as those of this catalog.",
              requests.Nothing, answers.Marked, "installation:mark_volumes", _ADMIN, _POST, "/doctor/mark-volumes"),
    Operation("doctor.rebuild_catalog", "Makes a catalog from the images and overlays that lie in the data folder.",
              requests.RebuildCatalog, answers.Rebuilt, "doctor:rebuild_catalog", _ADMIN, _POST,
              "/doctor/rebuild-catalog", job=True, removes_data=True),
)
# fmt: on

BY_NAME: Final = {operation.name: operation for operation in TABLE}


def run(services: "Services", name: str, request: Any, progress: Progress = silent) -> Any:
    """Does the operation of that name and gives its answer.

    Raises GoldherdError with its kind, the things it is about and the reason; TypeError for another's request.
    """
    operation = BY_NAME[name]
    if not isinstance(request, operation.request):
        raise TypeError(f"{name} takes a {operation.request.__name__}, not a {type(request).__name__}")
    function = operation.load()
    with shortages_named(f"{name} could not be done"):
        answer = function(services, request, progress) if operation.job else function(services, request)
    services.audit(name, request)
    return answer


def schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of a request or an answer."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).json_schema()
