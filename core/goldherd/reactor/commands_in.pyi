"""Signatures of letters.pyx; everything in it is called from compiled code."""
