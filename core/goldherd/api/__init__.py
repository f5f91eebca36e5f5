"""What a running daemon answers to programs on the same machine."""
