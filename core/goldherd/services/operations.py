"""The table of operations: everything a person or a program can ask of goldherd, each once, below all faces.

A line says what is asked and answered, which role may ask, the HTTP method and path, and which function does it. The
command line, the routes, the client, the audit entries and the documentation are made from it, or checked against it.
Importing the table costs nothing heavy: a line names its function (`module:function` below services/), and `run`
loads it when the operation is asked for.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from goldherd.errors import shortages_named
from goldherd.model.images import VersionRecord
from goldherd.model.progress import Progress, silent
from goldherd.services import answers as a
from goldherd.services import requests as r

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
    request: type[r.Request[Any]]
    """Its docstring says what the operation does."""
    answer: Any
    """The type of the answer; a tuple of records for a list."""
    function: str
    """`module:function` below goldherd.services; it takes (Services, request), and Progress when it is a job."""
    role: Role
    route: str
    """HTTP method and path; fields of the request in braces are part of the path."""
    job: bool = False
    """Whether it takes long, tells its progress and can be cancelled."""

    @property
    def summary(self) -> str:
        """One sentence for people."""
        return " ".join((self.request.__doc__ or "").split())

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        """The HTTP path."""
        return self.route.partition(" ")[2]

    @property
    def removes_data(self) -> bool:
        """Whether data may be gone afterwards: the request has a dry run, and a face asks first."""
        return "dry_run" in {field.name for field in fields(self.request)}

    def load(self) -> Callable[..., Any]:
        """The function that does it."""
        module, _, name = self.function.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(f"goldherd.services.{module}"), name)
        return found


def _job(name: str, request: type[r.Request[Any]], answer: Any, function: str, role: Role, route: str) -> Operation:
    """An operation that takes long."""
    return Operation(name, request, answer, function, role, route, job=True)


_op = Operation
_VIEWER, _OPERATOR, _ADMIN = Role

TABLE: Final[tuple[Operation, ...]] = (
    # --- images ---
    _job("image.import", r.ImportImage, VersionRecord, "importing:import_", _ADMIN, "POST /images/{name}/versions"),
    _op("image.list", r.ListImages, a.VersionRecords, "images:list_", _VIEWER, "GET /images"),
    _op("image.show", r.ShowImage, a.VersionDetails, "images:show", _VIEWER, "GET /images/{version}"),
    _op("image.find", r.FindImage, a.FoundFile, "images:find", _VIEWER, "GET /files"),
    _job(
        "image.verify",
        r.VerifyImage,
        a.Verified,
        "goldens.verifying:verify_",
        _OPERATOR,
        "POST /images/{version}/verify",
    ),
    _op("image.activate", r.ActivateImage, a.Changed, "images:activate_", _OPERATOR, "POST /images/{version}/activate"),
    _op("image.retire", r.RetireImage, a.Changed, "images:retire_", _OPERATOR, "POST /images/{version}/retire"),
    _op("image.remove", r.RemoveImage, a.Removed, "images:remove_", _ADMIN, "DELETE /images/{version}"),
    # --- nodes ---
    _op("node.add", r.AddNodes, a.Added, "nodes:add_", _OPERATOR, "POST /nodes"),
    _op("node.set", r.SetNodes, a.NodesChanged, "nodes:set_", _OPERATOR, "PATCH /nodes/{nodes}"),
    _op("node.list", r.ListNodes, a.NodeRecords, "nodes:list_", _VIEWER, "GET /nodes"),
    _op("node.show", r.ShowNodes, a.NodeRecords, "nodes:show", _VIEWER, "GET /nodes/{nodes}"),
    _op("node.reset", r.ResetNodes, a.Reset, "nodes:reset_", _OPERATOR, "POST /nodes/{nodes}/reset"),
    _job("node.check", r.CheckNodes, a.CheckedDisks, "checking:check_", _OPERATOR, "POST /nodes/{nodes}/check"),
    _op("node.remove", r.RemoveNodes, a.Removed, "nodes:remove_", _OPERATOR, "DELETE /nodes/{nodes}"),
    # --- the installation ---
    _op("status", r.ShowStatus, a.Status, "glance:status", _VIEWER, "GET /status"),
    _op("upgrade", r.UpgradeDaemon, a.Upgraded, "daemon:upgrade", _ADMIN, "POST /upgrade"),
    _op("drain", r.Drain, a.Drained, "daemon:drain", _OPERATOR, "POST /drain"),
    _op("stop", r.StopDaemon, a.Stopped, "daemon:stop", _ADMIN, "POST /stop"),
    _op("plugins", r.ListPlugins, a.Plugins, "plugins:plugins", _VIEWER, "GET /plugins"),
    _op("names", r.FindNames, a.Names, "glance:names", _VIEWER, "GET /names/{kind}"),
    _op("doctor.mark_volumes", r.MarkVolumes, a.Marked, "installation:mark_volumes", _ADMIN, "POST /doctor/volumes"),
    _job("doctor.rebuild_catalog", r.RebuildCatalog, a.Rebuilt, "doctor:rebuild", _ADMIN, "POST /doctor/catalog"),
)

BY_NAME: Final = {operation.name: operation for operation in TABLE}
BY_REQUEST: Final = {operation.request: operation for operation in TABLE}


def run(services: "Services", name: str, request: r.Request[r.Answer], progress: Progress = silent) -> r.Answer:
    """Does the operation of that name and gives its answer.

    Raises GoldherdError with its kind, the things it is about and the reason; TypeError for another's request.
    """
    operation = BY_NAME[name]
    if not isinstance(request, operation.request):
        raise TypeError(f"{name} takes a {operation.request.__name__}, not a {type(request).__name__}")
    function = operation.load()
    with shortages_named(f"{name} could not be done"):
        answer: r.Answer = function(services, request, progress) if operation.job else function(services, request)
    services.audit(name, request)
    return answer


def schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of a request or an answer."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).json_schema()
