"""Signatures of digest.pyx."""

def crc32c(data: bytes, start: int = ...) -> int:
    """The CRC32C of data; `start` is the CRC of what came before it."""

def crc32c_by_table(data: bytes) -> int:
    """The same by the table alone."""
