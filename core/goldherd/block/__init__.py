"""Where sectors live: images, chains of them, and the memory that sealed ones share. Knows neither SCSI nor a format.

Start reading at image.pxd (the two doors of an image), then golden.pxd.
"""
