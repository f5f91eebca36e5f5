"""Status codes of SAM-5, for Python; the list itself stands in statuses.pxd."""
