"""Signatures of turn.pyx; everything in it is called from compiled code."""
