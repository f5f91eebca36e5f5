"""Records and nothing else: images, versions, nodes and rules in SQLite, told as plain records.

Knows no file but its own, no image format, and no rule of what may be done: services/ decides. Every query is a
function on a connection, so that the caller says what is one transaction. Start reading at store.py, then tables.py.
"""
