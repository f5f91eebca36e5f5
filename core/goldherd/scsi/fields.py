"""Parameter data made from a table of its fields."""


def fields(length: int, values: dict[tuple[int, int], int]) -> bytes:
    """`length` bytes of zeros but for the fields: (offset, size) to value, big endian."""
    data = bytearray(length)
    for (offset, size), value in values.items():
        data[offset : offset + size] = value.to_bytes(size)
    return bytes(data)
