"""connections.pyx gives Python nothing; its contracts stand in connections.pxd."""
