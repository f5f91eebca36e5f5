"""The client gives the same answers by every transport: in this process, and as JSON, as over a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from goldherd.client import Client, Local, Transport
from goldherd.errors import ErrorKind, GoldherdError
from goldherd.hooks import Hooks
from goldherd.model.progress import Progress
from goldherd.services import requests
from goldherd.services.operations import BY_NAME
from pydantic import TypeAdapter

PREFIX = "iqn.2026-11.io.test"


class Wire:
    """Gives requests and answers to another transport as JSON."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def ask(self, operation: str, request: requests.Request[requests.Answer], progress: Progress) -> requests.Answer:
        line = BY_NAME[operation]
        asked: TypeAdapter[requests.Request[requests.Answer]] = TypeAdapter(line.request)
        told: TypeAdapter[requests.Answer] = TypeAdapter(line.answer)
        answer = self._inner.ask(operation, asked.validate_json(asked.dump_json(request)), progress)
        return told.validate_json(told.dump_json(answer))

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    hooks = Hooks()
    transport = Local(tmp_path / "data", lambda: hooks.formats, PREFIX)
    yield transport
    transport.close()


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    path = tmp_path / "golden.raw"
    path.write_bytes(bytes(1 << 20))
    return path


def test_answers_are_the_same_as_json(local: Local, golden: Path) -> None:
    with Client(Wire(local)) as far:
        made = far.ask(requests.ImportImage(str(golden), "lab"))
        assert (made.name, made.path.is_file()) == ("lab@1", True)
        added = requests.AddNodes(("pc-[1-2]",), "lab", macs=None, chap_user="u", chap_secret=b"a-secret-of-ours")
        assert far.ask(added).created == ("pc-1", "pc-2")
        near = Client(local)
        asked: list[requests.Request[Any]] = [
            requests.ListImages(),
            requests.ShowImage("lab"),
            requests.FindImage(str(made.path)),
            requests.VerifyImage("lab"),
            requests.ActivateImage("lab@1"),
            requests.ListNodes(),
            requests.ShowNodes(("pc-2",)),
            requests.SetNodes(("pc-1",), policy="keep"),
            requests.RemoveNodes(("pc-1",), dry_run=True),
            requests.ResetNodes(("pc-1",), dry_run=True),
            requests.ShowStatus(),
            requests.ListPlugins(),
            requests.FindNames("node"),
            requests.RebuildCatalog(dry_run=True),
        ]
        for request in asked:
            assert far.ask(request) == near.ask(request)


def test_refusal_passes_with_its_kind(local: Local) -> None:
    with pytest.raises(GoldherdError) as refused:
        Client(local).ask(requests.ShowImage("none"))
    assert refused.value.kind == ErrorKind.NOT_FOUND


def test_long_work_tells_its_progress(local: Local, golden: Path) -> None:
    told: list[tuple[str, int, int]] = []
    Client(local).ask(requests.ImportImage(str(golden), "lab"), lambda *step: told.append(step))
    assert told and told[-1][1] == told[-1][2]


def test_client_closes_its_transport() -> None:
    class Closing:
        closed = False

        def ask(self, operation: str, request: requests.Request[requests.Answer], progress: Progress) -> Any:
            raise AssertionError

        def close(self) -> None:
            self.closed = True

    transport = Closing()
    with Client(transport):
        assert not transport.closed
    assert transport.closed


def test_nothing_is_made_by_a_look(tmp_path: Path) -> None:
    hooks = Hooks()
    with Client(Local(tmp_path / "none", lambda: hooks.formats, PREFIX)) as client:
        assert client.ask(requests.ShowStatus()).running is False
        assert client.ask(requests.FindNames("image")) == ()
        assert len(client.ask(requests.ListPlugins())) > 1
    assert not (tmp_path / "none").exists()
