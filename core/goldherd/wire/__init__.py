"""Bytes to PDUs and back (RFC 7143 section 11). Knows no connection, no session and no SCSI command.

Start reading at pdu.pxd (where each field of a header lies) and opcodes.pxd.
"""
