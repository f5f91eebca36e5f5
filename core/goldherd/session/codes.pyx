"""Codes of the data plane that both languages use, for Python; the lists themselves stand in codes.pxd."""
