"""emit.pyx gives Python nothing; its contracts stand in emit.pxd."""
