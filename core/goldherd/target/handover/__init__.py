"""The hand-over of a running server to another process: its sockets, sessions and disks, without an error at a client.

giving.py is the process that runs, taking.py the one that follows it, channel.py how they speak; capture.py writes down
what the control plane knows, reactor/handover.py what the data plane knows, and model/handover.py is the format.
"""
