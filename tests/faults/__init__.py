"""Power cuts and sick disks: a file system that loses what was not synced, and rounds of work that are cut short.

`python -m tests.faults --rounds 500` plays rounds and prints a table. Start reading at filesystem.py (how the power is
cut), then record.py (what a disk may hold afterwards), then rounds.py.
"""
