"""Logins to targets that ask for no proof: AuthMethod=None (RFC 7143 12.1)."""

from goldherd.errors import INITIATOR_ERROR, ProtocolError
from goldherd.hookspecs import AuthExchange, Credentials, hookimpl


class NoneExchange:
    """Nothing to prove; finished before it starts."""

    method = "None"
    prefix = "None_"
    finished = True

    def step(self, keys: dict[str, str]) -> dict[str, str]:
        """There is no step in this method."""
        raise ProtocolError(
            f"The initiator sent {', '.join(keys)} though no authentication runs.",
            login_status=INITIATOR_ERROR,
        )


@hookimpl(trylast=True)
def start_login(credentials: Credentials | None) -> AuthExchange | None:
    """Answers when the target's configuration asks for nothing, after every other plugin had its say."""
    return NoneExchange() if credentials is None else None
