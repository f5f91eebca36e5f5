"""Signatures of mailbox.pyx; everything in it is called from compiled code."""
