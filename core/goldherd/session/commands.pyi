"""commands.pyx has nothing to call from Python; see commands.pxd."""
