"""What a device tells about itself: INQUIRY, mode pages, ports, supported commands, its clock (SPC-4)."""
