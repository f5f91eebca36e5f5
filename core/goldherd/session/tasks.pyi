"""Signatures of tasks.pyx; everything in it is called from compiled code."""
