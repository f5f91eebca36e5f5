"""Fuzz targets: what a stranger's bytes reach, each as one function from bytes to nothing."""
