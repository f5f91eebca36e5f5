"""Signatures of slots.pyx; everything in it is called from compiled code."""
