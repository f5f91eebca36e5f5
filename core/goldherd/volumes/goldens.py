"""How a disk file becomes a golden file: copied into the data folder, or adopted where it is."""

import os
import secrets as randomness
import stat
from pathlib import Path
from typing import Any

from goldherd.errors import ErrorKind, ImageError
from goldherd.files.copying import copy_bytes, data_ranges, length_of, parts_with_data
from goldherd.files.hashing import Hashes as Hashes
from goldherd.files.hashing import hash_file
from goldherd.files.newfile import sync_folder
from goldherd.files.outliving import lies_beside
from goldherd.files.space import keeps_holes
from goldherd.limits import READ_CHUNK_BYTES, SECTOR_BYTES
from goldherd.model.images import Formats
from goldherd.model.progress import Progress
from goldherd.volumes.store import Volumes, explained


def golden_format(formats: Formats, format_name: str) -> str:
    """The format that a disk of another format is sealed in.

    A format whose images can be the parents of its own children is kept. A plain disk has no mark by which children
    could know it: it is wrapped in the first format that makes such images.
    """
    if _is_kept(formats, format_name):
        return format_name
    for form in formats:
        if form.name in form.capabilities.parents and form.capabilities.create and form.capabilities.sparse:
            return str(form.name)
    raise ImageError(f"No plugin brings a format for golden images, so no {format_name} disk can be sealed.")


def _is_kept(formats: Formats, format_name: str) -> bool:
    """Whether images of a format are sealed as they are."""
    child = formats.child_format(format_name)
    return child is not None and child.name == format_name


def _wrapping(formats: Formats, golden: str) -> str | None:
    """The format that makes a golden image of a plain disk by what it puts behind the bytes."""
    parents = formats.capabilities(golden).parents
    plain = (form for form in formats if form.capabilities.plain and form.capabilities.create)
    return next((form.name for form in plain if form.name in parents), None)


def check_source(formats: Formats, source: Path, format_name: str, in_place: bool) -> int:
    """The file's kind (S_IFREG or S_IFBLK), once it is clear that it can be imported this way."""
    can = formats.capabilities(format_name)
    if not can.file:
        raise ImageError(
            f"{source} can't be sealed: images of the format {format_name} are no files that could be sealed; "
            "convert it to a raw disk or to VHD and import that.",
            path=str(source),
        )
    with explained(source, "seal a copy"):
        kind = stat.S_IFMT(source.stat().st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFBLK):
        raise ImageError(f"{source} is neither a file nor a disk: name a disk image.", path=str(source))
    kept = _is_kept(formats, format_name)
    if can.plain and not kept:
        if in_place:
            raise ImageError(
                f"{source} is a {format_name} disk, which can't be a parent as it is: import a "
                "copy, which is kept in another format.",
                path=str(source),
            )
    elif not kept:
        raise ImageError(
            f"{source} is of the format {format_name}, which has no differencing children: "
            "convert it to a raw disk or to VHD and import that.",
            path=str(source),
        )
    if in_place and kind != stat.S_IFREG:
        raise ImageError(f"{source} is a device and can't be sealed where it is: import a copy.", path=str(source))
    return kind


def check_whole(source: Path) -> None:
    """Refuses a file that a killed daemon had not flushed: the bytes of the file are not the whole disk.

    Call it while the source is open, and so locked. Raises ImageError.
    """
    if lies_beside(source):
        raise ImageError(
            f"{source} can't be imported yet: the daemon that wrote to it was killed, and what it had answered last is "
            "not in the file. Start that daemon once, or serve the file once by itself.",
            path=str(source),
            kind=ErrorKind.IN_USE,
        )


def staging_path(volumes: Volumes, name: str) -> Path:
    """The path of a copy until the version has its number."""
    return volumes.images / f".{name}.{randomness.token_hex(8)}.part"


def stage(
    formats: Formats,
    source: Path,
    kind: int,
    format_name: str,
    size_bytes: int,
    staged: Path,
    progress: Progress,
    *,
    holes: bool | None = None,
) -> int | None:
    """Copies a disk to `staged`: a disk that is plain bytes into a golden format, any other file as it is.

    The copy takes no more space than the data of the disk. A wrapping behind the bytes of the disk does that with
    holes; where the file system keeps none (`holes`; None: it is tried), the image is a sparse one.

    Returns: how many of the copy's first bytes are those of the source; None: all, 0: they are spread over the copy.
    Raises ImageError when the source was written to meanwhile.
    """
    if _is_kept(formats, format_name):
        _copy(source, staged, kind, None, progress)
        return None
    golden = golden_format(formats, format_name)
    wrapping = _wrapping(formats, golden)
    if holes is None:
        holes = keeps_holes(staged)
    if holes and wrapping is not None:
        formats.create(f"{wrapping}:{staged}", size_bytes, None, (("preallocate", "no"),))
        _copy(source, staged, kind, size_bytes, progress)
        return size_bytes
    _pack(formats, source, kind, size_bytes, f"{golden}:{staged}", progress)
    return 0


def hash_staged(staged: Path, progress: Progress, prefix_bytes: int | None, source: Path) -> tuple[Hashes, Hashes]:
    """The hashes of a finished copy: of the file, and of the source; `prefix_bytes` is what stage() answered."""
    if prefix_bytes == 0:
        return hash_file(staged, progress)[0], hash_file(source, progress)[0]
    return hash_file(staged, progress, prefix_bytes)


def hash_adopted(path: Path, progress: Progress) -> Hashes:
    """The hashes of a file that is adopted where it is; ImageError when it was written to meanwhile."""
    before = path.stat()
    hashes, _ = hash_file(path, progress)
    _refuse_if_changed(path, before, path.stat())
    return hashes


def name_staged(staged: Path, final: Path) -> None:
    """Gives a finished copy its name, durably."""
    staged.rename(final)
    sync_folder(final.parent)


def _copy(source: Path, staged: Path, kind: int, disk_bytes: int | None, progress: Progress) -> None:
    """Fills the staged file: the disk's bytes into a prepared container, or the whole file into a new one."""
    flags = os.O_RDWR | os.O_CLOEXEC | (0 if disk_bytes is not None else os.O_CREAT | os.O_EXCL)
    from_file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(from_file)
        length = length_of(from_file) if disk_bytes is None else disk_bytes
        to_file = os.open(staged, flags, 0o600)
        try:
            # The bytes behind the disk in a prepared container are kept. The space set aside for the disk is given
            # back, because a sealed file is never written and may keep its holes.
            behind = os.pread(to_file, READ_CHUNK_BYTES, length)
            os.ftruncate(to_file, 0)
            os.ftruncate(to_file, length)
            copy_bytes(from_file, to_file, length, progress)
            os.pwrite(to_file, behind, length)
            os.fsync(to_file)
        finally:
            os.close(to_file)
        if kind == stat.S_IFREG:
            _refuse_if_changed(source, before, os.fstat(from_file))
    finally:
        os.close(from_file)


class _NoParents:
    """The opener of a new disk, which has no parent (goldherd.Opener)."""

    parent = None
    search = ()


def _pack(formats: Formats, source: Path, kind: int, size_bytes: int, golden: str, progress: Progress) -> None:
    """Writes what is not zero in a plain disk to a new, sparse image."""
    formats.create(golden, size_bytes, None)
    image: Any = formats.open(golden, "rw", _NoParents())
    try:
        from_file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.fstat(from_file)
            for start, end in data_ranges(from_file, size_bytes):
                offset = start - start % SECTOR_BYTES
                while offset < end:
                    progress("copy", offset, size_bytes)
                    data = os.pread(from_file, min(READ_CHUNK_BYTES, size_bytes - offset), offset)
                    if not data:
                        raise ImageError(f"{source} became shorter while it was imported.", path=str(source))
                    for begin, stop in parts_with_data(data):
                        image.write(offset + begin, memoryview(data)[begin:stop])
                    offset += len(data)
            progress("copy", size_bytes, size_bytes)
            if kind == stat.S_IFREG:
                _refuse_if_changed(source, before, os.fstat(from_file))
        finally:
            os.close(from_file)
        image.flush()
    finally:
        image.close()


def _refuse_if_changed(source: Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(
            f"{source} was written to while it was imported: stop what uses the disk and import it again.",
            path=str(source),
            kind=ErrorKind.CHANGED,
        )
