"""Names of images, nodes, initiators and network cards: checked once at the door, safe ever after.

A node's name becomes part of an iSCSI name, a host name and a file name, so nothing but a DNS label will do.
Every refusal is a CatalogError that says what a good name looks like.
"""

import math
import re
from collections.abc import Sequence
from typing import Final

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
from ClusterShell.RangeSet import RangeSetException

from goldherd.errors import CatalogError, ErrorKind, ProtocolError
from goldherd.limits import (
    IMAGE_NAME_CHARACTERS_MAX,
    NODE_NAME_CHARACTERS_MAX,
    NODES_NAMED_MAX,
    NODES_PER_COMMAND_MAX,
)
from goldherd.model import access
from goldherd.model.images import ImageRef
from goldherd.model.iscsi_names import normalise
from goldherd.model.nodes import ANY_INITIATOR, ANYBODY

_NODE: Final = re.compile(rf"(?!-)[a-z0-9-]{{1,{NODE_NAME_CHARACTERS_MAX}}}(?<!-)")
_IMAGE: Final = re.compile(rf"[a-z0-9](?:[a-z0-9._-]{{0,{IMAGE_NAME_CHARACTERS_MAX - 2}}}[a-z0-9])?")
_RANGE: Final = re.compile(r"(\d+)(?:-(\d+)(?:/(\d+))?)?")


def check_node_name(name: str) -> str:
    """The node's name in small letters."""
    folded = name.lower()
    if not _NODE.fullmatch(folded):
        raise _invalid(
            f"'{name}' can't name a node: use up to {NODE_NAME_CHARACTERS_MAX} letters, digits and hyphens, "
            "with no hyphen at either end."
        )
    return folded


def check_image_name(name: str) -> str:
    """The image's name in small letters."""
    folded = name.lower()
    if not _IMAGE.fullmatch(folded):
        raise _invalid(
            f"'{name}' can't name an image: use up to {IMAGE_NAME_CHARACTERS_MAX} letters, digits, dots, "
            "hyphens and underscores, starting and ending with a letter or digit."
        )
    return folded


def parse_image_ref(text: str) -> ImageRef:
    """Reads `name` or `name@number`."""
    name, at, number = text.partition("@")
    if at and not re.fullmatch(r"[1-9]\d{0,8}", number):
        raise _invalid(f"'{text}' names no version: write NAME@NUMBER, for instance lab@2.")
    return ImageRef(check_image_name(name), int(number) if at else None)


def expand_nodes(ranges: str | list[str]) -> list[str]:
    """The names that ClusterShell ranges such as pc-[001-040] stand for, sorted as numbers, each once."""
    text = ranges if isinstance(ranges, str) else ",".join(ranges)
    refuse = f"'{text}' is not a list of nodes"
    if _count(text) > NODES_PER_COMMAND_MAX:
        raise _invalid(
            f"'{text}' stands for more than {NODES_PER_COMMAND_MAX} nodes: shorten the range, or name them "
            "in several commands."
        )
    try:
        names = list(NodeSet(text.lower(), resolver=RESOLVER_NOGROUP))
    except (NodeSetException, RangeSetException) as error:
        raise _invalid(f"{refuse} ({error}): write names and ranges such as pc-[001-040].") from None
    if not names:
        raise _invalid(f"{refuse}: it is empty; write names and ranges such as pc-[001-040].")
    return [check_node_name(name) for name in names]


def _count(text: str) -> int:
    """An upper bound of the names in a range expression, without expanding it."""
    total = 1
    for group in re.split(r",(?![^\[]*\])", text):
        sizes = [1]
        for inside in re.findall(r"\[([^\]]*)\]", group):
            parts = _RANGE.findall(inside)
            sizes.append(sum(abs(int(b or a) - int(a)) // max(int(step or 1), 1) + 1 for a, b, step in parts))
        total += math.prod(sizes)
    return total - 1


def normalise_iscsi_name(text: str, what: str = "a target") -> str:
    """An iSCSI name in the form in which a login compares it (goldherd/model/iscsi_names.py)."""
    try:
        return normalise(text)
    except ProtocolError as refusal:
        raise _invalid(
            f"'{text}' can't name {what} ({str(refusal).rstrip('.')}): write iqn.YYYY-MM.DOMAIN:NAME, eui. and 16 "
            "hexadecimal digits, or naa. and 16 or 32."
        ) from None


def normalise_mac(text: str) -> str:
    """A MAC address as six pairs of small hexadecimal digits with colons."""
    try:
        return access.normalise_mac(text)
    except ValueError as error:
        raise _invalid(f"{error}.") from None


def parse_rule(text: str) -> str:
    """An access rule, checked, as the catalog keeps it; `any` and `initiator:any` admit every initiator."""
    if text.lower() in (ANY_INITIATOR, ANYBODY):
        return ANYBODY
    try:
        return str(access.Rule.parse(text))
    except ValueError as error:
        raise _invalid(f"{error}.") from None


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts pc-2 before pc-11: digits count as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts]


def listed(names: Sequence[str]) -> str:
    """The first of some names for a sentence: "pc-1, pc-2, ..."."""
    return ", ".join(names[:NODES_NAMED_MAX]) + (", ..." if names[NODES_NAMED_MAX:] else "")


def _invalid(sentence: str) -> CatalogError:
    return CatalogError(sentence, kind=ErrorKind.INVALID)
