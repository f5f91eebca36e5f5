"""What verifying a version finds, and what is noted of it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from goldherd.catalog.tables import versions
from goldherd.errors import ErrorKind, ImageError
from goldherd.model.images import PLAIN_HASH, ImageRef, VersionRecord
from goldherd.model.progress import Progress
from goldherd.services import images, requests
from goldherd.services.context import Services
from goldherd.services.goldens.verifying import note_changed, verify
from goldherd.services.operations import run
from goldherd.volumes import sealing
from goldherd.volumes.sealing import verify_sealed
from sqlalchemy import update

from tests.services.test_images import damage, quiet

Sealer = Callable[..., VersionRecord]
LAB = ImageRef("lab", 1)


def lab(services: Services) -> VersionRecord:
    return images.get_version(services, LAB)


def test_verify_finds_a_hidden_change_in_the_middle(
    services: Services, seal: Sealer, make_raw: Callable[..., Path]
) -> None:
    version = seal(source=make_raw(size_bytes=4 << 20))
    damage(version.path, 2 << 20)
    verify_sealed(version)
    with pytest.raises(ImageError, match="is damaged"):
        verify(services, LAB, quiet)


def test_version_of_an_older_release_is_verified_by_the_hash_it_has(
    services: Services, seal: Sealer, make_raw: Callable[..., Path]
) -> None:
    version = seal(source=make_raw(size_bytes=4 << 20))
    plain = hashlib.sha256(version.path.read_bytes()).hexdigest()
    set_hash(services, plain, PLAIN_HASH)
    assert verify(services, LAB, quiet).version.hash == plain
    damage(version.path, 2 << 20)
    with pytest.raises(ImageError, match="is damaged"):
        verify(services, LAB, quiet)


def test_version_of_a_later_release_is_not_called_damaged(services: Services, seal: Sealer) -> None:
    seal()
    set_hash(services, "00", "blake9")
    with pytest.raises(ImageError, match="with the hash blake9, which this goldherd does not know"):
        verify(services, LAB, quiet)


def set_hash(services: Services, value: str, algorithm: str) -> None:
    """Makes lab@1 a version that another release sealed."""
    with services.catalog.write() as connection:
        connection.execute(update(versions).values(hash=value, hash_algorithm=algorithm))


def test_verify_renews_the_seal_of_a_restored_file(services: Services, seal: Sealer) -> None:
    version = seal()
    os.utime(version.path, ns=(1, 1))
    with pytest.raises(ImageError):
        verify_sealed(version)
    assert verify(services, LAB, quiet).renewed is True
    verify_sealed(images.get_version(services, ImageRef("lab", 1)))
    assert verify(services, LAB, quiet).renewed is False


def test_outcome_and_time_are_noted(services: Services, seal: Sealer) -> None:
    version = seal()
    assert (version.verified_at, version.outcome) == (None, None)
    verify(services, LAB, quiet)
    assert lab(services).outcome == "right" and lab(services).verified_at is not None


def test_version_of_other_bytes_is_used_no_more_whatever_its_seal_says(
    services: Services, seal: Sealer, make_raw: Callable[..., Path]
) -> None:
    version = seal(source=make_raw(size_bytes=4 << 20))
    damage(version.path, 2 << 20)
    with pytest.raises(ImageError, match="is damaged") as found:
        verify(services, LAB, quiet)
    assert found.value.kind is ErrorKind.DAMAGED
    assert (lab(services).outcome, lab(services).changed) == ("changed", sealing.OTHER_CONTENT)
    assert sealing.find_change(lab(services)) is None
    with pytest.raises(ImageError, match="was changed after it was sealed"):
        verify_sealed(lab(services))
    assert "was changed" in str(run(services, "image.show", requests.ShowImage("lab")).fault)
    damage(version.path, 2 << 20)  # the byte is as it was
    done = run(services, "image.verify", requests.VerifyImage("lab@1"))
    assert done.cleared and not done.seal_renewed
    verify_sealed(lab(services))
    assert lab(services).times_changed == 1


def test_changed_version_is_used_again_once_every_byte_was_found_right(services: Services, seal: Sealer) -> None:
    version = seal()
    os.utime(version.path, ns=(1, 1))
    note_changed(services, version, "its modification time differs")
    note_changed(services, version, "its size differs")
    assert lab(services).changed == "its modification time differs", "the first change found is told"
    assert lab(services).times_changed == 1
    with pytest.raises(ImageError, match="its modification time differs"):
        verify_sealed(lab(services))
    done = verify(services, LAB, quiet)
    assert done.renewed and done.cleared == "its modification time differs"
    verify_sealed(lab(services))
    assert lab(services).changed is None and lab(services).changed_at is None


def test_file_that_is_missing_is_unreadable_and_not_changed(services: Services, seal: Sealer) -> None:
    version = seal()
    version.path.rename(version.path.with_name("away"))
    with pytest.raises(ImageError, match="can't be read"):
        verify(services, LAB, quiet)
    assert (lab(services).outcome, lab(services).changed) == ("unreadable", None)
    version.path.with_name("away").rename(version.path)
    verify_sealed(lab(services))


def test_file_that_is_written_to_meanwhile_is_judged_later(services: Services, seal: Sealer) -> None:
    version = seal()

    def hashed(path: Path, progress: Progress, plain: bool) -> sealing.Hashes:
        found = sealing.hash_here(path, progress, plain)
        path.chmod(0o600)
        return found

    with pytest.raises(ImageError, match="was written to meanwhile"):
        verify(services, LAB, quiet, hashed)
    assert lab(services).outcome is None
    verify_sealed(version)


def test_shorter_file_is_damaged_before_it_is_read(services: Services, seal: Sealer) -> None:
    version = seal()
    version.path.chmod(0o644)
    with version.path.open("r+b") as file:
        file.truncate(4096)

    def hashed(path: Path, progress: Progress, plain: bool) -> sealing.Hashes:
        raise AssertionError("nothing of it need be read")

    with pytest.raises(ImageError, match="has 4096 bytes and had"):
        verify(services, LAB, quiet, hashed)
    assert lab(services).outcome == "changed"


def test_version_that_was_removed_is_not_noted(services: Services, seal: Sealer) -> None:
    version = seal()
    images.remove(services, LAB)
    note_changed(services, version, "its size differs")
