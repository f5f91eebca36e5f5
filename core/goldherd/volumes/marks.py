"""The marks of volumes: a folder in which disks lie says which installation it belongs to.

A folder whose file system is not mounted looks like an empty folder. Without the mark every node would get a fresh disk
there, and the disks would come back, with other contents, when the file system is mounted again.

    FOLDER/.goldherd-volume     {"installation": ID, "names_disks": true}
"""

import json
import os
from pathlib import Path
from typing import Final

from goldherd.errors import About, CatalogError, ErrorKind
from goldherd.files.newfile import sync_folder
from goldherd.model.installation import Installation

MARK: Final = ".goldherd-volume"


def mark(folder: Path, installation: Installation) -> None:
    """Marks a folder, durably; OSError when it can't be written."""
    text = json.dumps({"installation": installation.id, "names_disks": installation.names_disks})
    staged = folder / f"{MARK}.new"
    with staged.open("w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    staged.replace(folder / MARK)
    sync_folder(folder)


def installation_of(folder: Path) -> Installation | None:
    """Which installation a folder belongs to; None when it has no mark that can be read."""
    try:
        told = json.loads((folder / MARK).read_text())
        identity, names_disks = told["installation"], told["names_disks"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not isinstance(identity, str) or not isinstance(names_disks, bool):
        return None
    return Installation(identity, names_disks)


def is_bare(folder: Path) -> bool:
    """Whether nothing but the mark lies in a folder."""
    return all(path.name == MARK for path in folder.iterdir())


def check(folder: Path, installation: Installation) -> None:
    """Raises CatalogError (kind absent) unless the folder is marked as one of this installation."""
    found = installation_of(folder)
    if found is not None and found.id == installation.id:
        return
    what = "has no mark of an installation" if found is None else "belongs to another installation"
    raise CatalogError(
        f"The folder {folder} {what}, so it is not where the disks of this catalog lie: mount the file system that "
        "holds them, or mark the folder if it was restored from a backup.",
        kind=ErrorKind.ABSENT,
        about=(About("folder", str(folder)),),
    )
