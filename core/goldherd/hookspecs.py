"""Every hook a plugin may implement, in the order in which a machine meets them.

A plugin is a module (or object) registered under the entry point group `goldherd`; it marks its functions
with `@goldherd.hookimpl` and may leave out trailing parameters that it does not need. Hooks that answer a
question return the first answer that is not None; hooks that notify return nothing. Hooks of logins and discovery
may be coroutine functions and have a time limit (isolation.py). No hook is ever called
per command: the data plane holds what the hook returned.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pluggy

from goldherd.block.format import Format, Opener
from goldherd.block.image import Image
from goldherd.model.options import FilterSpec

PROJECT = "goldherd"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class AuthExchange(Protocol):
    """One authentication on one connection, without I/O: texts in, texts out (RFC 7143 12.1)."""

    @property
    def method(self) -> str:
        """The AuthMethod value this exchange speaks, e.g. "CHAP"; "None" asks for nothing."""
        ...

    @property
    def prefix(self) -> str:
        """How its keys begin, e.g. "CHAP_"; only such keys reach `step`."""
        ...

    def step(self, keys: dict[str, str]) -> dict[str, str]:
        """Takes the peer's keys of one login request, gives ours for the response.

        Raises ProtocolError with its login status when the peer fails; the message is for the log and names
        no secret. It is not called again after that, nor once `finished`. It may be a coroutine function.
        """
        ...

    @property
    def finished(self) -> bool:
        """Whether the peer has proved its identity, and we ours if it asked. True from the start for "None"."""
        ...


class Credentials(Protocol):
    """User names and secrets of one target, as its configuration gives them."""

    @property
    def user(self) -> str:
        """The name the initiator must give."""
        ...

    @property
    def secret(self) -> bytes:
        """What the initiator must know."""
        ...

    @property
    def mutual_user(self) -> str | None:
        """The name that the target gives when the initiator asks for proof; None when it has none."""
        ...

    @property
    def mutual_secret(self) -> bytes | None:
        """What we must know for that."""
        ...


class TargetRecord(Protocol):
    """One target that a discovery answer may name."""

    @property
    def name(self) -> str:
        """Its normalised iSCSI name."""
        ...

    @property
    def alias(self) -> str:
        """What people call it; may be empty."""
        ...


@hookspec
def list_targets(initiator: str, portal: str, targets: Sequence[TargetRecord]) -> Iterable[str] | None:
    """Narrows or reorders what SendTargets=All shows to one initiator (RFC 7143 appendix C).

    Args:
        initiator: the initiator's iSCSI name, normalised.
        portal: "host:port" it reached us by.
        targets: the targets that its rules let it see; a plugin may hide some, never add others.

    Returns: the names to show, in order; None to leave the decision to the next plugin. The first
    answer that is not None counts, last registered first.
    """


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where an initiator is sent (RFC 7143 11.13.5, status class 1)."""

    address: str
    """HOST:PORT or HOST:PORT,TAG, IPv6 in brackets. The port is never left out: iPXE goes to a wrong one without."""
    permanent: bool = False
    """The initiator may remember it; otherwise it asks here again the next time."""


@hookspec(firstresult=True)
def redirect_login(initiator: str, target: str, portal: str) -> Redirect | None:
    """Sends a login to another portal, that of another server perhaps; asked before the initiator has proved itself.

    Args:
        initiator: the initiator's iSCSI name, normalised; the target admits it.
        target: the target's name.
        portal: "host:port" it reached us by.

    Returns: where to go; None to leave it to the next plugin, and to serve the login here if none answers.
    """


@hookspec(firstresult=True)
def start_login(initiator: str, target: str | None, credentials: Credentials | None) -> AuthExchange | None:
    """Answers how a login must prove itself.

    Args:
        initiator: the initiator's iSCSI name, normalised.
        target: the target's name; None for a discovery session.
        credentials: what the target's configuration asks for; None when it asks for nothing.

    Returns: an exchange to run, or None to leave it to the next plugin. When no plugin answers and credentials
    are set, the login is refused.
    """


@hookspec
def image_formats() -> Format | Sequence[Format] | None:
    """Brings image formats; asked once, when goldherd starts.

    Returns: an object of a class derived from goldherd.Format, or several; None when the plugin has none here.
        goldherd/block/format.py has the contract: name, probe, open, create, check, capabilities and options. A name
        that another plugin has taken is declined.
    """


@hookspec(firstresult=True)
def open_image(url: str, mode: str, opener: Opener) -> Image | None:
    """Opens a disk image: the short door, for a format that can be opened and nothing else.

    Asked for formats that no plugin brings by `image_formats`.

    Args:
        url: "format:location", e.g. "zip:disk.zip"; the location is unchanged and need not be a path.
        mode: "r" (nothing is ever written) or "rw".
        opener: parents and folders.

    Returns: the image, or None when the format is not the plugin's. Raises ImageError with one clear
        sentence.
    """


@hookspec
def image_filters() -> Mapping[str, type] | None:
    """Names the filters that `wrap_image` of the plugin has, for lists and for completion.

    Returns: each filter's name with the type of its options, a dataclass or a pydantic model. A filter that no plugin
    names works all the same.
    """


@hookspec(firstresult=True)
def wrap_image(image: Image, options: FilterSpec) -> Image | None:
    """Puts a filter over an image: an image that passes on, changes, delays or refuses what it is asked.

    Args:
        image: the image below, which the filter owns and closes; goldherd.FilterImage does.
        options: `options.name` is the filter's name, `options.read(Type)` gives its options as an object of a
            dataclass or pydantic model, or raises the refusal of what does not fit.

    Returns: the filter, or None when the name is not one of the plugin's.
    """


class SessionRecord(Protocol):
    """What notifications tell about a session."""

    @property
    def initiator(self) -> str:
        """The initiator's normalised name."""
        ...

    @property
    def target(self) -> str:
        """The target's normalised name."""
        ...

    @property
    def isid(self) -> bytes:
        """The 6 bytes by which the initiator tells its sessions apart."""
        ...

    @property
    def tsih(self) -> int:
        """The number by which we do."""
        ...

    @property
    def address(self) -> str:
        """Where the initiator's connection comes from."""
        ...


@hookspec
def session_opened(session: SessionRecord) -> None:
    """A normal session reached the full feature phase. Called on a thread of the plugin, in the order of events."""


@hookspec
def session_closed(session: SessionRecord, reason: str) -> None:
    """A session ended, by logout, reinstatement, error or loss of its connection."""


@hookspec
def node_booted(node: str, session: SessionRecord) -> None:
    """A node's operating system took its disk over: the first session of a boot that is not the loader's."""


@hookspec
def node_silent(node: str, seconds: float) -> None:
    """A node that was up and answered pings has said nothing for the set time; told once until it logs in again."""


@hookspec(firstresult=True)
def power_cycle(node: str) -> bool | None:
    """Switches a node that has fallen silent off and on again; asked only when the settings allow it.

    Args:
        node: the node's name.

    Returns: whether that was done; None to leave it to the next plugin.
    """
