"""The data plane: from recv to sendmsg without Python. One reactor owns its sessions and shares nothing.

Start reading at core.pxd, then follow input.pyx (PDUs in), tasks.pyx (what a task does next), output.pyx (PDUs out).
"""
