"""The commands, a file for each group of them. They ask the client for operations and show the answers."""
