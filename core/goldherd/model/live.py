"""What runs at this moment, as operations ask it: the server itself in the daemon, the daemon elsewhere."""

from typing import Any, Protocol


class Live(Protocol):
    """What serves a data folder."""

    def status(self) -> dict[str, Any] | None:
        """What the daemon says of itself (docs/cli.md); None when none serves the folder.

        Raises GoldherdError, of kind NOT_PERMITTED when a daemon runs and this user may not ask it.
        """
        ...

    def upgrade(self) -> dict[str, Any] | None:
        """Lets the daemon hand over to a new process; what came of that, None when none serves the folder.

        Raises GoldherdError with the reason when the daemon goes on instead.
        """
        ...

    def drain(self, on: bool) -> dict[str, Any] | None:
        """Lets no machine begin to boot from now on, or lets them in again; what status() says then.

        Raises GoldherdError like status().
        """
        ...

    def ask_to_stop(self) -> None:
        """Has the daemon end, and does not wait for that. Raises GoldherdError like status()."""
        ...


class NothingLive:
    """No daemon is known of."""

    def status(self) -> dict[str, Any] | None:
        """None."""
        return None

    def upgrade(self) -> dict[str, Any] | None:
        """None."""
        return None

    def drain(self, on: bool) -> dict[str, Any] | None:  # noqa: ARG002 - nothing is there that could drain
        """None."""
        return None

    def ask_to_stop(self) -> None:
        """Nothing ends."""
