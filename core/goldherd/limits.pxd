"""The bounds of limits.py that compiled code needs; tests/test_limits.py holds both lists equal."""

cdef enum:
    SECTOR_BYTES = 512
    GRANULE_BYTES = 262144
    DATA_SEGMENT_BYTES_MAX = 262144
