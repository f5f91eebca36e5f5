"""The commands by which a device describes itself: INQUIRY, mode pages, ports, supported commands, clock (SPC-4)."""
