"""VHD 1.0: fixed, dynamic and differencing disks; everything that is known of the format is in this folder.

The hook is here. Start reading at formats.py (what it can), layout.py (the fields), survey.py (what a file holds,
checked), image.pyx (reads) and writer.pyx (the order of writes); parents.py finds what a differencing disk is based on.
"""

from collections.abc import Sequence

from goldherd import Format, hookimpl

from goldherd_plugins.vhd.formats import FixedVhdFormat, VhdFormat


@hookimpl
def image_formats() -> Sequence[Format]:
    """ "vhd" for disks of every kind, and "vhd-fixed", which makes fixed ones."""
    return (VhdFormat(), FixedVhdFormat())
