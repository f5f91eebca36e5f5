"""Signatures of batch.pyx; everything in it is called from compiled code."""
