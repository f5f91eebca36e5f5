"""Threads that drive sessions: sockets, epoll and the border to the control plane. Knows nothing of RFC 7143.

Start reading at control.pyx (the API), then loop.pyx (the steps), epoll.pyx (sockets) and inmemory.pyx (no sockets,
for tests).
"""
