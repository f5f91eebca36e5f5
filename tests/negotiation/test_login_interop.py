"""Somebody else's initiator, libiscsi's iscsi-ls, against login and Text exchange over a real socket."""

import asyncio
from dataclasses import replace

import pytest
from goldherd.model.portals import Portal
from goldherd.negotiation.discovery import send_targets
from goldherd.negotiation.host import LoginPolicy
from goldherd.negotiation.login import Login
from goldherd.negotiation.text_exchange import TextExchange
from goldherd.wire import header
from goldherd.wire.opcodes import Opcode

pytestmark = pytest.mark.interop


async def read_pdu(reader):
    """Header and data segment of the next PDU."""
    raw = await reader.readexactly(48)
    _, data_bytes = header.segment_bytes(raw)
    data = await reader.readexactly(data_bytes + header.padding(data_bytes))
    return raw, data[:data_bytes]


async def serve(host, logins, normal, reader, writer):
    """One connection: login, then discovery until logout; sets `normal` for a normal session instead."""
    portal = Portal.reached_by(writer.get_extra_info("sockname"))
    login = Login(host, portal, "", LoginPolicy(command_window=32))
    logins.append(login)
    while not login.finished and not login.closed:
        writer.writelines(await login.receive(*await read_pdu(reader)))
    if login.finished and not login.result.discovery:
        normal.set()
    elif login.finished:
        await serve_text(host, portal, login.result, reader, writer)
    writer.close()


async def serve_text(host, portal, result, reader, writer):
    """The full feature phase of a discovery session; numbers what TextExchange leaves open."""

    async def visible():
        peers = {name: await host.peer(result.initiator, result.address, host.targets[name]) for name in host.targets}
        return [name for name in sorted(peers) if host.targets[name].admits(peers[name])]

    segment = result.parameters.max_send_data_segment
    exchange = TextExchange(lambda value: send_targets(value, None, visible, [portal]), segment)
    stat_sn = result.stat_sn
    while True:
        raw, data = await read_pdu(reader)
        # An immediate request does not use its number up (RFC 7143 4.2.2.1).
        cmd_sn = int.from_bytes(raw[24:28], "big") + (not raw[0] & header.IMMEDIATE)
        numbers = {"stat_sn": stat_sn, "exp_cmd_sn": cmd_sn, "max_cmd_sn": cmd_sn + 31}
        stat_sn += 1
        if header.opcode_of(raw) == Opcode.LOGOUT_REQUEST:
            writer.write(header.pdu(header.LogoutResponse(itt=header.LogoutRequest.read(raw).itt, **numbers)))
            return
        for pdu in await exchange.receive(raw, data):
            assert pdu[0] == Opcode.TEXT_RESPONSE, exchange.refusal
            numbered = replace(header.TextResponse.read(pdu[:48]), **numbers)
            writer.write(numbered.pack() + pdu[48:])


def run_client(host, *arguments, path="", user=""):
    """Runs a client of libiscsi against the host; what it prints, and the logins that it made."""
    logins = []

    async def run():
        normal = asyncio.Event()
        server = await asyncio.start_server(lambda *streams: serve(host, logins, normal, *streams), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            process = await asyncio.create_subprocess_exec(
                *arguments,
                f"iscsi://{user}127.0.0.1:{port}{path}",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output = asyncio.create_task(process.communicate())
            in_session = asyncio.create_task(normal.wait())
            await asyncio.wait({output, in_session}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            in_session.cancel()
            if process.returncode is None:
                # It would log in again and again, because no commands are served here.
                process.kill()
            return (await output)[0].decode()

    return asyncio.run(run()), logins


def test_iscsi_ls_lists_what_is_open_to_it(host):
    output, logins = run_client(host, "iscsi-ls")
    assert [login.refusal for login in logins] == [""]
    assert "Target:iqn.2026-11.io.goldherd:open" in output
    assert "pc-001" not in output


def test_iscsi_ls_lists_what_is_open_to_one_initiator(host):
    output, _ = run_client(host, "iscsi-ls", "-i", "iqn.2026-11.io.goldherd.node:pc-001")
    assert "Target:iqn.2026-11.io.goldherd:pc-001" in output


def test_iscsi_ls_with_chap(host):
    host.discovery_credentials = host.targets["iqn.2026-11.io.goldherd:chap"].credentials
    output, logins = run_client(host, "iscsi-ls", user="pc-001%a secret of 16 b@")
    assert [login.refusal for login in logins] == [""]
    assert logins[0].result.authenticated
    assert "Target:iqn.2026-11.io.goldherd:open" in output


def test_iscsi_ls_with_the_wrong_secret(host):
    host.discovery_credentials = host.targets["iqn.2026-11.io.goldherd:chap"].credentials
    output, logins = run_client(host, "iscsi-ls", user="pc-001%wrong@")
    assert "does not match" in logins[0].refusal
    assert "Target:" not in output


@pytest.mark.parametrize(("target", "user"), [("open", ""), ("chap", "pc-001%a secret of 16 b@")])
def test_iscsi_inq_logs_in_to_a_normal_session(host, target, user):
    _, logins = run_client(host, "iscsi-inq", path=f"/iqn.2026-11.io.goldherd:{target}/0", user=user)
    assert (logins[0].refusal, logins[0].finished) == ("", True)
    assert logins[0].result.authenticated == bool(user)


def test_iscsi_ls_gets_a_long_list(host):
    # It declares a long data segment and can't take an answer with the C bit.
    template = host.targets["iqn.2026-11.io.goldherd:open"]
    for number in range(1000):
        name = f"iqn.2026-11.io.goldherd:node-{number:04d}"
        host.targets[name] = replace(template, name=name)
    output, _ = run_client(host, "iscsi-ls")
    assert output.count("Target:iqn.2026-11.io.goldherd:node-") == 1000
