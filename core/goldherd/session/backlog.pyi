"""Signatures of sending.pyx; everything in it is called from compiled code."""
