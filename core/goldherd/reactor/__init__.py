"""The data plane: from recv to sendmsg without Python. One reactor owns its sessions and shares nothing.

Start reading at core.pxd, then follow turn.pyx (one connection's turn), input.pyx (PDUs in), commands.pyx (their first
step), tasks.pyx (what comes next), output.pyx (PDUs out).
"""
