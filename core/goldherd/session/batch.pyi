"""batch.pyx gives Python nothing; its contracts stand in batch.pxd."""
