"""The control plane: sessions, open disks, and the server that holds logins, rare commands and reactors together.

One event loop thread runs everything here; what may sleep goes to threads. Start reading at server.py.
"""
