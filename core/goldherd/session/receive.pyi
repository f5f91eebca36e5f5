"""receive.pyx gives Python nothing; its contracts stand in receive.pxd."""
