"""State that outlives a command: a target, its units, their medium, their nexuses. Knows no command block."""
