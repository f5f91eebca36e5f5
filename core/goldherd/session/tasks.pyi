"""tasks.pyx gives Python nothing; its contracts stand in tasks.pxd."""
