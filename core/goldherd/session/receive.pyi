"""Signatures of input.pyx; everything in it is called from compiled code."""
