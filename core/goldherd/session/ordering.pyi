"""ordering.pyx gives Python nothing; its contracts stand in ordering.pxd."""
