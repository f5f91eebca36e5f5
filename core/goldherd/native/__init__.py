"""C declarations for the compiled modules, and nothing else: .pxd files that Python never imports."""
