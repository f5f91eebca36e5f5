"""Which version the daemon verifies next, and when it does not."""

import os
import threading
import time
from collections.abc import Callable

from goldherd.catalog.tables import versions
from goldherd.model.images import ImageRef, VersionRecord
from goldherd.services import images
from goldherd.services.context import Services
from goldherd.services.goldens.schedule import Schedule
from goldherd.services.goldens.verifying import note_changed, verify
from goldherd.services.goldens.watch import GoldenWatch
from sqlalchemy import update

from tests.services.test_golden_watch import Machines
from tests.services.test_images import damage, quiet

Sealer = Callable[..., VersionRecord]
WEEK = 7 * 86400.0
LONG_AGO = "2020-01-01T00:00:00Z"


def sealed_at(services: Services, number: int, at: str) -> None:
    with services.catalog.write() as connection:
        connection.execute(update(versions).where(versions.c.number == number).values(created_at=at))


def outcomes(services: Services) -> dict[str, str | None]:
    return {version.name: version.outcome for version in images.list_versions(services)}


def test_each_is_verified_when_its_time_has_come_and_the_oldest_first(services: Services, seal: Sealer) -> None:
    for _ in range(3):
        seal()
    sealed_at(services, 2, "2021-01-01T00:00:00Z")
    sealed_at(services, 3, LONG_AGO)
    schedule = Schedule(services, WEEK, 0)
    assert schedule.run_due() == ["lab@3", "lab@2"]
    assert outcomes(services) == {"lab@1": None, "lab@2": "right", "lab@3": "right"}
    assert schedule.run_due() == []
    assert Schedule(services, WEEK, 0).run_due() == [], "the catalog remembers"


def test_nothing_but_changed_versions_at_the_start(services: Services, seal: Sealer) -> None:
    seal()
    sealed_at(services, 1, LONG_AGO)
    second = seal()
    note_changed(services, second, "its modification time differs")
    assert Schedule(services, WEEK, 0).run_due(only_changed=True) == ["lab@2"]
    assert images.get_version(services, second.ref).changed is None, "all its bytes are right"


def test_changed_file_comes_first_and_is_read_once(services: Services, seal: Sealer) -> None:
    seal()
    sealed_at(services, 1, LONG_AGO)
    second = seal()
    verify(services, second.ref, quiet)
    damage(second.path, 4096)
    note_changed(services, second, "its first or last bytes differ")
    schedule = Schedule(services, WEEK, 0)
    assert schedule.run_due() == ["lab@2", "lab@1"]
    assert outcomes(services) == {"lab@1": "right", "lab@2": "changed"}
    assert schedule.run_due() == []


def test_restored_file_is_verified_again_by_itself(services: Services, seal: Sealer) -> None:
    version = seal()
    schedule = Schedule(services, WEEK, 0)
    watch = GoldenWatch(services, Machines(), schedule.want)
    good = version.path.read_bytes()
    damage(version.path, 4096)
    watch.look()
    schedule.run_due()
    assert outcomes(services) == {"lab@1": "changed"}
    version.path.chmod(0o644)
    version.path.write_bytes(good)
    for _ in range(3):
        watch.look()
    assert schedule.run_due() == ["lab@1"]
    watch.look()
    assert outcomes(services) == {"lab@1": "right"} and watch.status() == []


def test_file_that_can_not_be_read_is_tried_a_day_later(services: Services, seal: Sealer) -> None:
    version = seal()
    sealed_at(services, 1, LONG_AGO)
    version.path.unlink()
    schedule = Schedule(services, WEEK, 0)
    assert schedule.run_due() == ["lab@1"] and schedule.run_due() == []
    assert outcomes(services) == {"lab@1": "unreadable"}
    with services.catalog.write() as connection:
        connection.execute(update(versions).values(verified_at=LONG_AGO))
    assert Schedule(services, WEEK, 0).run_due() == ["lab@1"]


def test_progress_is_told_and_an_end_stops_it(services: Services, seal: Sealer) -> None:
    seal()
    sealed_at(services, 1, LONG_AGO)
    schedule = Schedule(services, WEEK, 512)
    thread = threading.Thread(target=schedule.run_due)
    thread.start()
    deadline = time.monotonic() + 60
    while (told := schedule.status()) is None or not told["done_bytes"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert told["version"] == "lab@1" and told["done_bytes"] <= told["total_bytes"]
    schedule.stop()
    thread.join(60)
    assert not thread.is_alive() and schedule.status() is None
    assert outcomes(services) == {"lab@1": None}


def test_zero_verifies_nothing(services: Services, seal: Sealer) -> None:
    version = seal()
    note_changed(services, version, "its modification time differs")
    schedule = Schedule(services, 0)
    schedule.start()
    schedule.stop()
    assert outcomes(services) == {"lab@1": None}


def test_running_schedule_verifies_by_itself(services: Services, seal: Sealer) -> None:
    seal()
    version = seal()
    os.utime(version.path, ns=(1, 1))
    schedule = Schedule(services, 0.5, 0)
    schedule.start()
    deadline = time.monotonic() + 60
    while set(outcomes(services).values()) != {"right"}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    schedule.stop()
    assert images.get_version(services, ImageRef("lab", 2)).seal.mtime_ns == 1
