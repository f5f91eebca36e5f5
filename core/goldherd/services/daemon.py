"""What operations ask of the daemon itself."""

from goldherd.errors import ErrorKind, GoldherdError
from goldherd.services import answers, requests
from goldherd.services.context import Services


def upgrade(services: Services, request: requests.UpgradeDaemon) -> answers.Upgraded:  # noqa: ARG001 - every line has a request
    """upgrade."""
    found = services.live.upgrade()
    if found is None:
        raise GoldherdError(
            f"No daemon is running for {services.data}: there is nothing to hand over.", kind=ErrorKind.NOT_FOUND
        )
    return answers.Upgraded(
        int(found["pid"]), str(found["version"]), int(found["sessions"]), float(found["pause_seconds"])
    )
