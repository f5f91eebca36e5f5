"""Signatures of output.pyx; everything in it is called from compiled code."""
