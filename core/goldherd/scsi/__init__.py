"""What a command means (SAM-5, SPC-4, SBC-3). Knows images (block) and neither iSCSI nor sockets.

Start reading at commands.py, the one table of everything we support; cdb.pxd and unit.pxd are the two pages of it
that the data plane answers without Python.
"""
