"""The files of goldens, overlays and secrets in the data folder: made, sealed, checked and removed.

Knows no record and no rule of what may be done: services/ decides. Start reading at store.py.
"""
