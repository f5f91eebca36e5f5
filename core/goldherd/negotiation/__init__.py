"""Logins and Text exchanges (RFC 7143 section 6), without I/O. Knows wire and model, no SCSI and no socket.

Start reading at states.py (stages of a login), then login.py.
"""
