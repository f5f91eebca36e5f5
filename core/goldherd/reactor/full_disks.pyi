"""Nothing of full_disks.pyx is for Python."""
