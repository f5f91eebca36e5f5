"""Configuration, validated: what the server part of `export` and `serve` needs to know.

Every field of ServerSettings is also an environment variable, `GOLDHERD_` and the field's name in capitals;
options on the command line win over it. Knows no room; app.py reads the objects made here.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from goldherd.environment import (
    PREFIX,
    SETTINGS,
    TARGET_PREFIX,
    check_prefix,
    control_socket,
    read_settings_file,
)
from goldherd.errors import SettingsError
from goldherd.limits import (
    CONNECTIONS_MAX,
    FULL_DISK_HOLD_SECONDS,
    FULL_DISK_HOLD_SECONDS_MAX,
    LISTENERS_MAX,
    LOGIN_FAILURES_FREE,
    LOGIN_ROUNDS_MAX,
    LOGINS_MAX,
    LOGINS_PER_ADDRESS_MAX,
    PING_SECONDS,
    REACTORS_MAX,
    SHUTDOWN_FLUSH_SECONDS,
    SHUTDOWN_SECONDS,
    SILENCE_SECONDS,
    SILENT_NODE_MINUTES,
    TEXT_BYTES_MAX,
    VERIFY_RATE_BYTES,
)
from goldherd.model.targets import TargetConfig

ISCSI_PORT: Final = 3260
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TIMES: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host name or IP address and a TCP port; port 0 lets the system pick one."""

    host: str
    port: int
    tag: int = 1
    """The portal group (RFC 7143 4.2.7): the portals of one group are one SCSI target port."""
    announced: "Address | None" = None
    """What discovery names in its place, for clients behind address translation."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads HOST[:PORT][,TAG][=HOST:PORT], IPv6 addresses in brackets; ValueError with a sentence otherwise."""
        place, announces, other = text.partition("=")
        match = _ADDRESS.fullmatch(place)
        if match is None:
            raise ValueError(f"'{text}' is not an address; write HOST:PORT, or [ADDRESS]:PORT for IPv6")
        port = int(match["port"] or ISCSI_PORT)
        if port > 65535:
            raise ValueError(f"'{text}' names port {port}, but the highest is 65535")
        tag = int(match["tag"] or 1)
        if not 1 <= tag <= 65535:
            raise ValueError(f"'{text}' names portal group {tag}; a tag is a number from 1 to 65535")
        if not announces:
            return cls(match["six"] or match["host"], port, tag)
        announced = cls.parse(other)
        if announced.announced is not None or announced.tag != 1 or announced.port == 0:
            raise ValueError(f"'{text}' announces '{other}', which is not just HOST:PORT")
        return cls(match["six"] or match["host"], port, tag, announced)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_ADDRESS: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\],=]+))(?::(?P<port>\d{1,5}))?(?:,(?P<tag>\d{1,5}))?"
)


def memory_bytes() -> int:
    """The memory this process may use: that of the machine, or less if a control group says so."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if not line.startswith("0::/"):
            continue
        group = Path("/sys/fs/cgroup") / line[4:]
        for folder in (group, *group.parents):
            file = folder / "memory.max"
            if file.is_file() and (text := file.read_text().strip()) != "max":
                limit = min(limit, int(text))
    return limit


def spare_cores() -> int:
    """How many reactors run by default: one per core this process may use, less one for the control plane."""
    return max(len(os.sched_getaffinity(0)) - 1, 0)


def _parse_addresses(value: Any) -> Any:
    if isinstance(value, str):  # a comma stands between addresses, and before the tag of one
        value = [part for part in re.split(r",(?!\d+(?:[,=]|$))", value.replace(" ", "")) if part]
    return tuple(Address.parse(part) if isinstance(part, str) else part for part in value)


def _parse_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if match := re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", text):
        if float(match[1]) > 100:
            raise ValueError(f"'{text}' is more memory than there is")
        return int(memory_bytes() * float(match[1]) / 100)
    if match := re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?", text, re.IGNORECASE):
        return int(float(match[1]) * _UNITS[match[2].upper()])
    raise ValueError(f"'{text}' is not a size; write bytes, 512M, 8G or a share of the memory such as 50%")


def _parse_seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text == "off":
        return 0.0
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*([smhdw]?)", text):
        return float(match[1]) * _TIMES[match[2]]
    raise ValueError(f"'{value}' is not a time; write 12h, 7d, 2w or off")


class Share(NamedTuple):
    """A part of a file system: so many bytes, or so many percent of it."""

    bytes: int = 0
    percent: float = 0.0

    def of(self, total_bytes: int) -> int:
        """The part in bytes."""
        return self.bytes + int(total_bytes * self.percent / 100)


def _parse_share(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", value.strip()):
        if float(match[1]) > 100:
            raise ValueError(f"'{value}' is more than there is")
        return Share(percent=float(match[1]))
    return Share(bytes=_parse_bytes(value))


class ServerSettings(BaseSettings):
    """What both kinds of server share. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(env_prefix="GOLDHERD_", frozen=True, extra="ignore")

    listen: Annotated[tuple[Address, ...], NoDecode, BeforeValidator(_parse_addresses)] = Field(
        default=(Address("0.0.0.0", ISCSI_PORT),), min_length=1, max_length=LISTENERS_MAX
    )
    """The portals."""
    reactors: int = Field(default_factory=spare_cores, ge=0, le=REACTORS_MAX)
    """Threads of the data plane; 0 runs it on the control plane's event loop."""
    cache: Annotated[int, BeforeValidator(_parse_bytes)] = Field(default_factory=lambda: memory_bytes() // 2, ge=0)
    """Budget of the golden cache in bytes; given as "8G" or "50%". Filled by what machines really read."""
    target_prefix: Annotated[str, AfterValidator(check_prefix)] = TARGET_PREFIX
    """What comes before ":NODE" in a target's name."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level of lines in the log."""
    inhibit: Literal["block", "delay", "no"] = "block"
    """How the system is kept from shutting down or sleeping while nodes run: see systemd-inhibit(1)."""
    login_seconds: float = Field(default=15.0, gt=0, le=600)
    """A connection that is not in full feature phase after this time is closed."""
    connections_max: int = Field(default=1, ge=1, le=CONNECTIONS_MAX)
    """Connections one session may have (MaxConnections); several paths are usually several sessions."""
    login_rounds: int = Field(default=LOGIN_ROUNDS_MAX, ge=8, le=1024)
    """Requests of one login; a longer one is refused."""
    login_text_bytes: int = Field(default=TEXT_BYTES_MAX, ge=4096, le=1 << 20)
    """Text of all requests of one login; a longer one is refused."""
    logins_max: int = Field(default=LOGINS_MAX, ge=1, le=LOGINS_MAX)
    """Connections in their login at once; beyond it the oldest one ends."""
    logins_per_address: int = Field(default=LOGINS_PER_ADDRESS_MAX, ge=1, le=LOGINS_MAX)
    """The same of one IPv4 address or IPv6 /64 network."""
    login_failures: int = Field(default=LOGIN_FAILURES_FREE, ge=0, le=1_000_000)
    """Refused logins of one address, within about as many seconds, before its logins are delayed."""
    ping_seconds: float = Field(default=float(PING_SECONDS), gt=0, le=3600)
    """An idle session is asked for a sign of life (NOP-In) this often."""
    ping_timeout_seconds: float = Field(default=float(SILENCE_SECONDS), gt=0, le=3600)
    """A session that has answered pings before and is silent for so long is closed."""
    silent_node_minutes: float = Field(default=SILENT_NODE_MINUTES, ge=0, le=1440)
    """A node that was up and answers no ping for so long is told of; 0: never."""
    power_cycles_per_hour: int = Field(default=0, ge=0, le=60)
    """How often the power of such a node is cycled within an hour; 0: its silence is told and nothing is done."""
    flush_seconds: float = Field(default=5.0, gt=0, le=600)
    """Block tables that changed reach the disk after this time even if no guest asks for a flush."""
    space_soft: Annotated[Share, NoDecode, BeforeValidator(_parse_share)] = Share(percent=10.0)
    """Free space of a file system of disks, below which people and initiators are warned: bytes, or "10%"."""
    space_hard: Annotated[Share, NoDecode, BeforeValidator(_parse_share)] = Share(percent=3.0)
    """The same, below which it is an error in the log."""
    full_disk_hold: float = Field(default=float(FULL_DISK_HOLD_SECONDS), ge=0, le=FULL_DISK_HOLD_SECONDS_MAX)
    """How long writes that find no space wait for it before they fail; 0: not at all."""
    shutdown_seconds: float = Field(default=SHUTDOWN_SECONDS, ge=0, le=600)
    """How long clients may take to log out when the server stops."""
    shutdown_flush_seconds: float = Field(default=SHUTDOWN_FLUSH_SECONDS, gt=0, le=600)
    """How long disks may take after that to be flushed and closed; then the server ends without those that hang."""
    verify_every: Annotated[float, BeforeValidator(_parse_seconds)] = Field(default=7 * 86400.0, ge=0, le=3660 * 86400)
    """Seconds after which a golden image is verified again; given as "7d" or "12h"; 0 or "off": never."""
    verify_rate: Annotated[int, BeforeValidator(_parse_bytes)] = Field(default=VERIFY_RATE_BYTES, ge=0)
    """Bytes per second that this reads at most; 0: as fast as an idle reader may."""

    def target_name(self, node: str) -> str:
        """The iSCSI name of a node's target."""
        return f"{self.target_prefix}:{node}"

    def initiator_name(self, node: str) -> str:
        """The iSCSI name that a node's own initiator has unless another was chosen."""
        return f"{self.target_prefix}.node:{node}"


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """`goldherd serve`: the catalog in `data` says what the targets are."""

    data: Path
    server: ServerSettings

    @property
    def control_socket(self) -> Path:
        """The unix socket on which the daemon answers `goldherd status`."""
        return control_socket(self.data)


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """`goldherd export`: one target, given on the command line."""

    target: TargetConfig
    server: ServerSettings


def server_settings(**options: Any) -> ServerSettings:
    """The settings from options (None: not given), the file of GOLDHERD_SETTINGS, environment and defaults.

    The file wins over the environment: after a start the environment can't change any more. What systemd has copied
    from the same file into the environment is removed from there, so that a line which leaves the file leaves the
    settings. Raises SettingsError with one sentence.
    """
    given = {name: value for name, value in options.items() if value is not None}
    file = os.environ.get(SETTINGS)
    lines = read_settings_file(Path(file)) if file else {}
    for name, value in lines.items():
        field = name.removeprefix(PREFIX).lower()
        if field not in ServerSettings.model_fields:
            continue
        if os.environ.get(name) == value:
            del os.environ[name]
        if options.get(field) is None:
            given[field] = value
    try:
        return ServerSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        variable = f"{PREFIX}{name.upper()}"
        source = f"--{name.replace('_', '-')}" if options.get(name) is not None else variable
        if source in lines:
            source = f"{source} in {file}"
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:] if not reason.startswith("'") else reason
        raise SettingsError(f"{source} can't be used: {reason.rstrip('.')}.") from None
