"""The command line: a file for each group of commands, and output.py, which alone knows a terminal."""
