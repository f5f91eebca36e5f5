"""One server for all attacks; after each case it must be unhurt, after each group no larger."""

from collections.abc import Iterator

import pytest

from tests.hostile.field import DESCRIPTORS_SPARE, Field, wait_until

MEMORY_BYTES_MAX = 192 << 20
"""What a group of attacks may cost at its height: the write buffers of a reactor and as much again for the
letters and replies under way, above what the server needs anyway."""


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """The server under attack."""
    field = Field(tmp_path_factory.mktemp("field"))
    yield field
    assert field.close() == 0, "the server did not end in good order"
    assert "Traceback" not in field.log.read_text(errors="replace"), "a traceback in the server's log"


@pytest.fixture(scope="module", autouse=True)
def bounded(field: Field) -> Iterator[None]:
    """A group's attacks leave no descriptor open and never needed more memory than the bound."""
    field.check_unhurt()
    descriptors, memory = field.descriptors, field.memory_bytes
    field.forget_memory_max()
    yield
    grown = field.memory_bytes_max - memory
    assert grown < MEMORY_BYTES_MAX, f"the server's memory grew by {grown >> 20} MiB"
    wait_until(
        lambda: field.descriptors <= descriptors + DESCRIPTORS_SPARE, "the descriptors of the attackers are closed"
    )


@pytest.fixture(autouse=True)
def unhurt(field: Field) -> Iterator[None]:
    """After each case: alive, the bystander served, a fresh login served."""
    yield
    field.check_unhurt()
