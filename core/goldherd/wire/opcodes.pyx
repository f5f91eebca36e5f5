"""Opcodes, flags and codes of RFC 7143 section 11, for Python; the list itself stands in opcodes.pxd."""

NO_TAG = <unsigned int>RESERVED_TAG
