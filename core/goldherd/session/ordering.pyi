"""Signatures of order.pyx; everything in it is called from compiled code."""
