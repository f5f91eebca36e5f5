"""A folder for what is dear to make: keyed by content, so that whatever is in it is right or absent.

Tests that need a kernel or a bootable disk ask here first. GOLDHERD_TEST_CACHE names the folder; removing it
is always safe.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def cache_folder() -> Path:
    """$GOLDHERD_TEST_CACHE, else ~/.cache/goldherd-tests; made when absent."""
    chosen = os.environ.get("GOLDHERD_TEST_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "goldherd-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def content_key(ingredients: Iterable[Path | str]) -> str:
    """Sixteen hex digits that change with any ingredient: a file counts by its content."""
    digest = hashlib.sha256()
    for ingredient in ingredients:
        data = ingredient.read_bytes() if isinstance(ingredient, Path) else ingredient.encode()
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()[:16]


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, filled by make() if it isn't there; whole or not at all.

    make() gets an empty folder, which takes its name only when make() returns. Two runs at once both make it
    and one wins.
    """
    place = cache_folder() / name
    if not place.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache_folder()))
        try:
            make(draft)
            try:
                draft.rename(place)
            except OSError:  # another run was first
                if not place.exists():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return place
