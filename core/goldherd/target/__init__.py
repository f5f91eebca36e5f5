"""The control plane: portals, logins, sessions, rare commands, and the hand-over to the reactors.

One event loop thread runs everything here; what may sleep goes to a thread pool. Start reading at server.py.
"""
