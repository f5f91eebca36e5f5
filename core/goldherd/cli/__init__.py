"""The command line: what every command uses; output.py alone knows a terminal. The commands stand in commands/."""
