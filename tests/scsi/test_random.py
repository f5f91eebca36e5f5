"""No command block and no parameter list makes a command fail in a way that nobody foresaw."""

import random

import pytest
from goldherd.scsi.absent import execute_without_unit
from goldherd.scsi.commands import TABLE, lookup
from goldherd.scsi.execute import execute
from goldherd.scsi.sam import Status
from goldherd.scsi.state.persistent import Reservations

from .conftest import Initiator, triple

ROUNDS = 4000
LENGTH_MAX = 65536
STATUSES = {Status.GOOD, Status.CHECK_CONDITION, Status.RESERVATION_CONFLICT}


def some_cdb(chance: random.Random) -> bytes:
    """A CDB of a command there is: mostly zeros with a few fields set, so that many get past the checks."""
    command = chance.choice(TABLE)
    cdb = bytearray(16)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 10))):
        cdb[chance.randrange(command.cdb_length)] = chance.choice((1, 4, 8, 24, 255, chance.randrange(256)))
    if command.length is not None and chance.random() < 0.7:
        last_of_length = command.cdb_length - (3 if command.cdb_length > 10 else 2)
        cdb[last_of_length] = chance.choice((1, 5, 24, 24, 60, 88))
    cdb[0] = command.opcode
    cdb[1] = command.usage_map[1] & chance.choice((0, 0, chance.randrange(256)))
    if command.action is not None:
        cdb[1] = cdb[1] & 0xE0 | command.action
    cdb[command.cdb_length - 1] = 0
    return bytes(cdb)


def some_data(chance: random.Random, cdb: bytes, block_size: int) -> bytes:
    """What the CDB asks for, or some other amount; mostly zeros."""
    command = lookup(cdb)
    asked = command.data_out_bytes(cdb, block_size) if command else 0
    length = asked if asked <= LENGTH_MAX and chance.random() < 0.8 else chance.randrange(2048)
    data = bytearray(length)
    for _ in range(chance.randrange(6)):
        if length:
            data[chance.randrange(min(length, 64))] = chance.choice((1, 2, 5, 8, 0x45, 0xE4, chance.randrange(256)))
    return bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_every_answer_is_one_that_was_meant(unit, make_unit, target, seed: int) -> None:
    chance = random.Random(seed)
    make_unit(1, block_size=4096, removable=True)
    initiators = [Initiator(there, name).login() for name in "ab" for there in target.units.values()]
    for number in range(ROUNDS):
        if number % 40 == 0:
            for there in target.units.values():
                there.reset()
                there.reservations = Reservations()
        one, cdb = chance.choice(initiators), some_cdb(chance)
        data = some_data(chance, cdb, one.unit.block_size)
        reply = execute(one.unit, one.nexus, cdb, data)
        what = f"seed {seed}: {cdb.hex()} with {data.hex()}: {reply}"
        assert reply.status in STATUSES, what
        assert bool(reply.sense) == (reply.status == Status.CHECK_CONDITION), what
        assert not reply.sense or triple(reply.sense) != "04/44/00", what
        if reply.after is not None:
            reply.after()


@pytest.mark.parametrize("seed", range(2))
def test_a_missing_lun_answers_everything(target, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        assert execute_without_unit(target, chance.randbytes(16)).status in STATUSES
        assert execute_without_unit(target, some_cdb(chance)).status in STATUSES
