"""commands_in.pyx gives Python nothing; its contracts stand in commands_in.pxd."""
