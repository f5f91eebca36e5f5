"""What to type next: the one table that knows commands for the refusals of the lower rooms, which name none."""

from typing import Final

from goldherd.errors import ErrorKind, GoldherdError

ANYTHING: Final = ""
"""A thing of any type, or none."""

HINTS: Final[dict[tuple[ErrorKind, str], str]] = {
    (ErrorKind.NOT_FOUND, "image"): "'goldherd image list' shows what there is.",
    (ErrorKind.NOT_FOUND, "version"): "'goldherd image list' shows what there is.",
    (ErrorKind.NOT_FOUND, "node"): "'goldherd node list' shows what there is.",
    (ErrorKind.NOT_FOUND, "plugin"): "'goldherd plugins' shows what there is.",
    (ErrorKind.EXISTS, "mac"): "'goldherd node set NODE --no-mac' takes it from its owner.",
    (ErrorKind.EXISTS, "node"): "'goldherd node set' changes it.",
    (ErrorKind.NO_ACTIVE_VERSION, ANYTHING): "'goldherd image activate NAME@NUMBER' chooses one.",
    (ErrorKind.CHANGED, "version"): "'goldherd image verify' reads every byte of it.",
    (ErrorKind.ABSENT, "folder"): "'goldherd doctor --mark-volumes' marks it.",
    (ErrorKind.ABSENT, "node"): "'goldherd node reset NODE' gives it a fresh disk.",
    (
        ErrorKind.IN_USE,
        "daemon",
    ): "'goldherd drain --wait' waits for them; 'goldherd stop --force' stops it all the same.",
    (ErrorKind.NOT_FOUND, "daemon"): "'goldherd serve' starts one.",
    (ErrorKind.RECORDS_LOST, ANYTHING): "'goldherd doctor --rebuild-catalog' does that.",
}
"""By the error's kind and the type of the first thing it is about."""


def hint_for(error: GoldherdError) -> str | None:
    """The sentence that helps with this error; None where its own says all, or names the command already."""
    first = error.about[0].type if error.about else ANYTHING
    hint = HINTS.get((error.kind, first)) or HINTS.get((error.kind, ANYTHING))
    return None if hint is None or "'goldherd " in str(error) else hint
