"""backlog.pyx gives Python nothing; its contracts stand in backlog.pxd."""
