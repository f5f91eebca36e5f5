"""What things are and what they are called: values that every plane shares.

Nothing here reads a file, a socket or a database. Start with targets.py, which says what a target is.
"""
