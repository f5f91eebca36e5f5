"""messages.pyx gives Python nothing; its contracts stand in messages.pxd."""
