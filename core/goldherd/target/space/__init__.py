"""Space for the writes of open disks: watched, and told when there is none."""
