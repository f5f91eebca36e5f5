"""Golden files stay as they were sealed: verified by command and on a schedule, and watched while the daemon runs.

Start reading at verifying.py: what it means that a version is verified, and what is noted of it. upkeep.py is what the
daemon does by itself.
"""
