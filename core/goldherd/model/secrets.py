"""What bytes can be a CHAP secret."""

from goldherd.limits import CHAP_SECRET_BYTES_MAX


def can_be_secret(secret: bytes) -> bool:
    """Whether the bytes are one line of 1 to CHAP_SECRET_BYTES_MAX bytes."""
    return 0 < len(secret) <= CHAP_SECRET_BYTES_MAX and b"\n" not in secret and b"\0" not in secret
