"""The full feature phase without sockets or threads: bytes in, a batch of PDUs out, no Python and no GIL.

Start reading at state.pxd (sessions, connections, tasks) and core.pxd, then follow service.pyx (one connection's
service), receive.pyx (PDUs in), commands.pyx (their first step), tasks.pyx (what comes next), emit.pyx (PDUs out).
"""
