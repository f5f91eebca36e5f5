"""queues.pyx gives Python nothing; its contracts stand in queues.pxd."""
