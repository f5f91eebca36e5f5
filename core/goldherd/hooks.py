"""Finds, checks and registers plugins, and asks them: the one place that calls a hook.

Our own plugins and those of others come through the same door, the entry point group `goldherd`; ours are
registered first, so that others are asked before them. A plugin that can't be loaded, doesn't fit
hookspecs.py or was compiled against another `image.pxd` is declined: logged, listed in `Hooks.declined`, and
the daemon goes on without it.

The methods of `Hooks` give the types that pluggy can't: mypy knows what comes back. A GoldherdError of a
plugin passes as it is; anything else a plugin raises becomes a PluginError that names it. Questions of logins and
notifications run beside the event loop (isolation.py), but for our own plugins, which never sleep.
"""

import contextlib
import functools
import importlib
import io
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import entry_points
from typing import Any, Final, NamedTuple

import pluggy
import structlog

from goldherd import __version__, hookspecs, limits
from goldherd.block.format import Opener
from goldherd.block.image import ABI, Image
from goldherd.errors import AUTHENTICATION_FAILURE, GoldherdError, PluginError, ProtocolError, shown
from goldherd.faults import ChargedError, Faults
from goldherd.formats import Formats
from goldherd.hookspecs import PROJECT, AuthExchange, Credentials, Redirect, SessionRecord, TargetRecord
from goldherd.isolation import Isolated, Take
from goldherd.model.options import FilterSpec
from goldherd.model.plugins import PluginRecord

BUILTIN: Final[dict[str, str]] = {
    "auth_none": "goldherd_plugins.auth_none",
    "auth_chap": "goldherd_plugins.auth_chap",
    "backend_raw": "goldherd_plugins.backend_raw",
    "backend_sparse": "goldherd_plugins.backend_sparse",
    "discovery_sendtargets": "goldherd_plugins.discovery_sendtargets",
    "filter_delay": "goldherd_plugins.filter_delay",
    "filter_error": "goldherd_plugins.filter_error",
    "vhd": "goldherd_plugins.vhd",
}
"""The entry points of pyproject.toml, for running from a source tree that is not installed."""

NOTIFICATIONS: Final = frozenset({"session_opened", "session_closed", "node_booted", "node_silent"})
"""Hooks that only tell: a plugin that fails there delays and ends no session."""

ASKED_APART: Final = NOTIFICATIONS | {"list_targets", "power_cycle", "redirect_login", "start_login"}
"""Hooks that may sleep or be coroutines: called one by one, beside the event loop."""

_ANSWERS: Final = {"open_image": Image, "wrap_image": Image}
"""What a hook is answered with, where nothing else checks that; None is an answer always."""

_TARGET_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:\[\],]{1,253}):(?P<port>\d{1,5})(?:,\d{1,5})?")

log = structlog.get_logger("goldherd.hooks")


class Declined(NamedTuple):
    """A plugin that is not used, and why: one sentence."""

    name: str
    reason: str


class Hooks:
    """The registered plugins.

    Args:
        sources: (name, module) of the plugins to load, in the order of registration; the installed ones by
            default.
    """

    def __init__(self, sources: Iterable[tuple[str, str]] | None = None) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.declined: list[Declined] = []
        self.faults = Faults()
        """The faults of the plugins in use since they were registered."""
        self._abis: dict[str, int] = {}
        """The image ABI of each compiled plugin."""
        self._isolated: dict[str, Isolated] = {}
        """Strangers' plugins by name; ours are called directly."""
        for name, module in installed() if sources is None else sources:
            self._load(name, module)

    @property
    def names(self) -> list[str]:
        """The names of the plugins in use, in the order of registration."""
        return [name for name, plugin in self._manager.list_name_plugin() if plugin is not None]

    def records(self) -> list[PluginRecord]:
        """The plugins in use with what they are and which hooks they have, then those that are not used."""
        return [
            *(
                PluginRecord(
                    name,
                    "loaded",
                    version=_version(name),
                    abi=self._abis.get(name),
                    hooks=tuple(sorted(hook.name for hook in self._manager.get_hookcallers(plugin) or ())),
                )
                for name, plugin in self._manager.list_name_plugin()
                if plugin is not None
            ),
            *(PluginRecord(declined.name, "declined", declined.reason) for declined in self.declined),
        ]

    # --- registration ---

    def _load(self, name: str, module: str) -> None:
        """Imports and registers one plugin; declines it when either fails, whatever it raises."""
        try:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):  # what a command prints is read by programs
                plugin = _imported(module)
        except (Exception, SystemExit) as failure:
            self._decline(name, f"it can't be imported ({type(failure).__name__}: {failure}). Reinstall or remove it.")
            return
        if printed.getvalue():
            log.warning("a plugin prints when it is imported", plugin=name, printed=shown(printed.getvalue()))
        self.register(plugin, name, ours=BUILTIN.get(name) == module)

    def register(self, plugin: object, name: str, *, ours: bool = False) -> bool:
        """Registers a module or object with hook functions; whether it was taken.

        Args:
            ours: it never sleeps in a hook of a login or a notification, and is called directly.
        """
        if self._manager.has_plugin(name):
            self._decline(name, "another plugin has that name. Rename one of the two.")
            return False
        try:
            abi = getattr(plugin, "goldherd_abi", None)
            if abi is None and str(getattr(plugin, "__file__", "")).endswith(tuple(EXTENSION_SUFFIXES)):
                self._decline(
                    name, "it is compiled and does not say for which image ABI. Set goldherd_abi, rebuild it."
                )
                return False
            if abi is not None and abi != ABI:
                # A compiled backend would silently call the wrong method of another Image.
                self._decline(name, f"it was built for image ABI {abi}, this goldherd has {ABI}. Rebuild the plugin.")
                return False
            self._manager.register(_Guarded(plugin, name, self.faults), name)
            self._manager.check_pending()
            if not ours:
                self._isolated[name] = Isolated(name, self.faults)
            if abi is not None:
                self._abis[name] = abi
        except Exception as failure:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self._decline(name, f"it does not fit the hooks of this goldherd ({failure}). Update it.")
            return False
        self.__dict__.pop("formats", None)  # found anew, with this plugin's
        return True

    def _decline(self, name: str, reason: str) -> None:
        declined = Declined(name, f"The plugin {name} is not used: {reason}")
        self.declined.append(declined)
        log.error("a plugin was declined", plugin=name, reason=declined.reason)

    # --- the questions, in the order in which a machine meets them ---

    async def list_targets(self, initiator: str, portal: str, targets: Sequence[TargetRecord]) -> list[str]:
        """The names that SendTargets=All shows; a plugin can hide and reorder, never add."""
        allowed = {target.name for target in targets}

        def names(answer: Any) -> list[str] | None:
            if answer is None:
                return None
            if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
                raise PluginError(f"list_targets is answered with names, not with {type(answer).__name__}.")
            return [name for name in dict.fromkeys(answer) if name in allowed]

        chosen = await self._ask("list_targets", names, initiator=initiator, portal=portal, targets=targets)
        return sorted(allowed) if chosen is None else chosen

    async def redirect_login(self, initiator: str, target: str, portal: str) -> Redirect | None:
        """Where a login is sent; None: it is served here. PluginError for an address that no initiator could use."""

        def place(answer: Any) -> Redirect | None:
            if answer is None:
                return None
            if not isinstance(answer, Redirect) or not isinstance(answer.address, str):
                raise PluginError(f"redirect_login is answered with a Redirect, not with {type(answer).__name__}.")
            found = _TARGET_ADDRESS.fullmatch(answer.address)
            if found is None or not 0 < int(found["port"]) <= 65535:
                raise PluginError(
                    f"it redirects {initiator} to '{answer.address}': that must be HOST:PORT or HOST:PORT,TAG, with "
                    "IPv6 addresses in brackets."
                )
            return answer

        redirect: Redirect | None = await self._ask(
            "redirect_login", place, initiator=initiator, target=target, portal=portal
        )
        return redirect

    async def start_login(
        self, initiator: str, target: str | None, credentials: Credentials | None
    ) -> "LoginExchange | None":
        """How a login must prove itself; None for not at all.

        Raises: ProtocolError 0x0201 when credentials are set and no plugin can ask for them.
        """
        exchange: LoginExchange | None = await self._ask(
            "start_login", LoginExchange.of, initiator=initiator, target=target, credentials=credentials
        )
        if exchange is None and credentials is not None:
            raise ProtocolError(
                f"{target or 'Discovery'} has credentials, and no plugin can ask for them; install one.",
                login_status=AUTHENTICATION_FAILURE,
            )
        return exchange

    async def power_cycle(self, node: str) -> bool | None:
        """Has a node's power cycled; whether that was done, None when no plugin has power over it."""

        def read(answer: Any) -> bool | None:
            if answer is not None and not isinstance(answer, bool):
                raise PluginError(f"power_cycle is answered with True or False, not with {type(answer).__name__}.")
            return answer

        done: bool | None = await self._ask("power_cycle", read, node=node)
        return done

    async def _ask(self, hook: str, take: Take, **known: object) -> Any:
        """The first answer of a plugin that is not None, last registered first."""
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            arguments = tuple(known[name] for name in implementation.argnames)
            name = implementation.plugin_name
            answer = await self._call(name, hook, implementation.function, arguments, take)
            if isinstance(answer, LoginExchange):
                answer.call = functools.partial(self._call, name, "AuthExchange.step")
            if answer is not None:
                return answer
        return None

    async def _call(
        self, name: str, hook: str, function: Callable[..., Any], arguments: tuple[object, ...], take: Take
    ) -> Any:
        isolated = self._isolated.get(name)
        if isolated is not None:
            return await isolated.call(hook, function, arguments, take)
        try:
            return take(function(*arguments))
        except (Exception, SystemExit) as failure:
            raise self.faults.charge(name, hook, failure) from failure

    # --- formats and filters: goldherd/formats.py asks these, everything else asks `formats` ---

    @functools.cached_property
    def formats(self) -> Formats:
        """The image formats and filters of all plugins, found at the first use."""
        return Formats(self)

    def image_formats(self) -> Iterator[tuple[str, object]]:
        """(plugin, answer) of every plugin that has formats, in the order of registration; declines one that fails."""
        return self._answers("image_formats")

    def image_filters(self) -> Iterator[tuple[str, object]]:
        """The same of every plugin that names its filters."""
        return self._answers("image_filters")

    def _answers(self, hook: str) -> Iterator[tuple[str, object]]:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                answer = implementation.function()
            except ChargedError as failure:
                self._decline_format(implementation.plugin_name, str(failure))
            except GoldherdError as failure:
                self.decline_format(implementation.plugin_name, str(failure))
            else:
                yield implementation.plugin_name, answer

    def open_image(self, url: str, mode: str, opener: Opener) -> object:
        """The image of a plugin that has no Format; None when none answers."""
        return self._manager.hook.open_image(url=url, mode=mode, opener=opener)

    def wrap_image(self, image: Image, options: FilterSpec) -> object:
        """The filter of that name over the image; None when no plugin has it."""
        return self._manager.hook.wrap_image(image=image, options=options)

    def decline_format(self, plugin: str, reason: str) -> None:
        """Notes that a format or filter of a plugin is not used, which is a fault of the plugin."""
        self.faults.count(plugin, self._decline_format(plugin, reason))

    def _decline_format(self, plugin: str, reason: str) -> str:
        declined = Declined(plugin, f"A format of the plugin {plugin} is not used: {reason}")
        self.declined.append(declined)
        log.error("a format was declined", plugin=plugin, reason=declined.reason)
        return declined.reason

    def charge(self, plugin: str, what: str, failure: BaseException) -> GoldherdError:
        """The error for what a format or filter of a plugin raised or answered, which is logged and counted."""
        return self.faults.charge(plugin, what, failure)

    # --- the notifications ---

    def session_opened(self, session: SessionRecord) -> None:
        """Tells that a normal session reached the full feature phase."""
        self._tell("session_opened", session=session)

    def session_closed(self, session: SessionRecord, reason: str) -> None:
        """Tells that a session ended."""
        self._tell("session_closed", session=session, reason=reason)

    def node_booted(self, node: str, session: SessionRecord) -> None:
        """Tells that a node's operating system took its disk over."""
        self._tell("node_booted", node=node, session=session)

    def node_silent(self, node: str, seconds: float) -> None:
        """Tells that a node that was up has said nothing for so long."""
        self._tell("node_silent", node=node, seconds=seconds)

    def _tell(self, hook: str, **known: object) -> None:
        told_plugins = getattr(self._manager.hook, hook).get_hookimpls()
        if not told_plugins:
            return
        session: Any = known.get("session")
        snapshot = None
        if session is not None:
            snapshot = Snapshot(session.initiator, session.target, session.isid, session.tsih, session.address)
        for implementation in reversed(told_plugins):
            arguments = tuple(known[name] for name in implementation.argnames)
            isolated = self._isolated.get(implementation.plugin_name)
            if isolated is None:
                try:
                    implementation.function(*arguments)
                except Exception as failure:
                    self.faults.charge(implementation.plugin_name, hook, failure)
            else:
                told = tuple(
                    snapshot if argument is session and session is not None else argument for argument in arguments
                )
                isolated.notify(hook, implementation.function, told)

    def settle(self) -> None:
        """Waits a while until the plugins have taken their notifications; may sleep."""
        for isolated in self._isolated.values():
            isolated.settle(limits.HOOKS_SETTLE_SECONDS)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session as it was when something happened to it (hookspecs.SessionRecord), to be read on any thread."""

    initiator: str
    target: str
    isid: bytes
    tsih: int
    address: str


class LoginExchange:
    """An authentication of a plugin, as a login runs it (negotiation.host.Exchange): its answers are checked."""

    def __init__(self, exchange: AuthExchange) -> None:
        self._exchange = exchange
        self.call: Callable[[Callable[..., Any], tuple[object, ...], Take], Awaitable[Any]]
        """Calls the plugin where it may sleep."""
        self.method, self.prefix, self.finished = exchange.method, exchange.prefix, exchange.finished
        for name in ("method", "prefix"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise PluginError(f"start_login is answered with an exchange whose {name} is no text.")
        if not isinstance(self.finished, bool) or not callable(exchange.step):
            raise PluginError("start_login is answered with an exchange whose finished is no bool, or without step.")

    @classmethod
    def of(cls, answer: Any) -> "LoginExchange | None":
        """The exchange that a plugin answered; None for none."""
        return None if answer is None else cls(answer)

    async def step(self, keys: dict[str, str]) -> dict[str, str]:
        """The peer's keys of one request in, ours out; ProtocolError when it fails."""

        def taken(answer: Any) -> tuple[dict[str, str], bool]:
            if not isinstance(answer, dict) or not all(
                isinstance(text, str) and "\0" not in text for pair in answer.items() for text in pair
            ):
                raise PluginError("a step is answered with keys and values that are text.")
            return answer, bool(self._exchange.finished)

        answers: dict[str, str]
        answers, self.finished = await self.call(self._exchange.step, (keys,), taken)
        return answers


def installed() -> list[tuple[str, str]]:
    """(name, module) of every plugin to load: ours first, then those of others in name order."""
    found = {(point.name, point.value) for point in entry_points(group=PROJECT)}
    return [*BUILTIN.items(), *sorted(found - BUILTIN.items())]


def _version(name: str) -> str | None:
    """The version of the package that brings the plugin of that name; None when none is installed that does."""
    if name in BUILTIN:
        return __version__
    return next((point.dist.version for point in entry_points(group=PROJECT, name=name) if point.dist), None)


def _imported(module: str) -> object:
    """The module, or the object in it that an entry point names after a colon."""
    path, _, attribute = module.partition(":")
    plugin: Any = importlib.import_module(path)
    return functools.reduce(getattr, attribute.split("."), plugin) if attribute else plugin


class _Guarded:
    """What pluggy gets to see of a plugin: its hook functions under their own names, each guarded."""

    def __init__(self, plugin: object, name: str, faults: Faults) -> None:
        for attribute in dir(plugin):
            function = getattr(plugin, attribute, None)
            options = getattr(function, f"{PROJECT}_impl", None)
            if not callable(function) or not isinstance(options, dict):
                continue
            # A wrapper is a generator: pluggy itself brings its exceptions to the caller.
            wraps = options.get("wrapper") or options.get("hookwrapper")
            hook = options.get("specname") or attribute
            if wraps and hook in ASKED_APART:
                raise PluginError(f"{hook} can't be wrapped, because its plugins are asked one after the other")
            setattr(self, attribute, function if wraps or hook in ASKED_APART else _guard(function, name, hook, faults))


def _guard(function: Callable[..., object], plugin: str, hook: str, faults: Faults) -> Callable[..., object]:
    """The function; what it raises, and an answer of another type than the hook's, is charged to the plugin."""
    kind = _ANSWERS.get(hook)

    @functools.wraps(function)
    def guarded(*arguments: object) -> object:
        try:
            answer = function(*arguments)
            if kind is not None and not isinstance(answer, kind | None):
                raise PluginError(f"it answered with {type(answer).__name__} instead of an {kind.__name__}")
            return answer
        except (Exception, SystemExit) as failure:
            raise faults.charge(plugin, hook, failure) from failure

    return guarded
