"""What may happen next between an initiator and us (RFC 7143), without I/O. Knows wire, no SCSI and no socket.

Start reading at states.py (login) and session.pxd (numbering and tasks in the full feature phase).
"""
