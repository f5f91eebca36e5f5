"""Reservation commands (SPC-2 7.16 and 7.21, SPC-4 5.13); the state that they change is in state/persistent.py."""
