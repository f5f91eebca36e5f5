"""commands.pyx gives Python nothing; its contracts stand in commands.pxd."""
