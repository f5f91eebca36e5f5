"""What SendTargets answers (RFC 7143 appendix C).

A discovery session sees every target that its rules let it see; a normal session sees its own target and
no other, whatever it asks for. The directory decides before which targets an initiator may see; this file words the
answer.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from goldherd.errors import ProtocolError
from goldherd.model.iscsi_names import normalise
from goldherd.model.portals import Portal
from goldherd.wire.text import Pair

ALL: Final = "All"


async def send_targets(
    value: str, own: str | None, visible: Callable[[], Awaitable[Iterable[str]]], portals: Sequence[Portal]
) -> list[Pair] | None:
    """The lines that answer SendTargets=value.

    Args:
        value: All, a target's name, or nothing for the session's own target.
        own: the session's target; None in a discovery session.
        visible: the names this initiator may see, in order; asked only in a discovery session.
        portals: where the targets are reached, the one the initiator used first. Never a wildcard.

    Returns: TargetName and TargetAddress lines, none when nothing is there to be seen; None when the value
        asks for something this session can't have (to be answered Reject).
    """
    if own is not None:
        names = [own] if value in (ALL, "") or _same(value, own) else []
    elif value == ALL:
        names = list(await visible())
    elif value == "":
        return None
    else:
        names = [name for name in await visible() if _same(value, name)]
    return [pair for name in names for pair in _lines(name, portals)]


def _same(value: str, name: str) -> bool:
    """Whether a peer's value names that target; a name that is none matches nothing."""
    try:
        return normalise(value) == name
    except ProtocolError:
        return False


def _lines(name: str, portals: Iterable[Portal]) -> list[Pair]:
    return [("TargetName", name), *(("TargetAddress", portal.target_address) for portal in portals)]
