"""service.pyx gives Python nothing; its contracts stand in service.pxd."""
