"""memory.pyx gives Python nothing; its contracts stand in memory.pxd."""
