"""SCSI commands and their meaning (SAM-5, SPC-4, SBC-3). Knows images (block) and neither iSCSI nor sockets.

Start reading at commands.py, the one table of all supported commands, and execute.py, which carries out one of them.

    fastpath/        what reactors read without Python: a unit, a nexus, watches, command blocks
    state/           what outlives a command: target, units, medium, nexuses, mode pages, reservations, ROD tokens
    disk/            commands of a direct access block device (SBC-3)
    reservations/    RESERVE, PERSISTENT RESERVE IN and OUT
    copying/         EXTENDED COPY and token copies (ODX)
    identification/  INQUIRY, mode pages, ports, supported commands: what a device tells about itself
"""
