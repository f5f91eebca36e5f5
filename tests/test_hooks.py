"""How plugins are found, checked, registered and asked; and a test named after each hook."""

import asyncio
import sys
import textwrap
import tomllib
from pathlib import Path
from types import SimpleNamespace

import goldherd
import pytest
from goldherd.block.filter import FilterImage
from goldherd.block.format import Format
from goldherd.block.image import ABI, Image
from goldherd.block.memory import MemoryImage
from goldherd.errors import GoldherdError, ImageError, LoginStatus, PluginError, ProtocolError, SettingsError
from goldherd.hooks import BUILTIN, Hooks, Snapshot, installed
from goldherd.hookspecs import Redirect, hookimpl
from goldherd.model.options import FilterSpec
from goldherd.model.targets import ChapCredentials, TargetConfig

CREDENTIALS = ChapCredentials("pc-001", b"a secret of 16 b")
TARGETS = [TargetConfig(f"iqn.2026-11.io.goldherd:{name}", ()) for name in "cab"]
SESSION = SimpleNamespace(
    initiator="iqn.2026-11.a:b", target=TARGETS[0].name, isid=bytes(6), tsih=1, address="192.0.2.7"
)
SNAPSHOT = Snapshot(SESSION.initiator, SESSION.target, SESSION.isid, SESSION.tsih, SESSION.address)


class Opener:
    """What a backend may ask for: nothing, here."""

    parent = None
    search = ()

    def known(self, identity):
        return None

    def open_parent(self, path, format_name):
        raise ImageError(f"{path} can't be a parent.")


class ZooFormat(Format):
    """Files that end with an animal."""

    name = "zoo"

    def __init__(self):
        self.seen = []

    def probe(self, path, head, tail):
        self.seen.append((path, head, tail))
        return tail.endswith(b"zebra")


class FarmFormat(Format):
    name = "farm"


def hooks_with(*plugins):
    """Hooks with our own authentication and discovery, and these plugins on top, named by their order."""
    ours = ("auth_none", "auth_chap", "discovery_sendtargets")
    hooks = Hooks((name, BUILTIN[name]) for name in ours)
    for number, plugin in enumerate(plugins):
        assert hooks.register(plugin, f"plugin{number}"), hooks.declined
    return hooks


def hook(name, function):
    """A plugin of one hook."""
    return SimpleNamespace(**{name: hookimpl(function)})


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported; gives its name."""

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return name

    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


# --- finding and checking ---


def test_builtin_plugins_are_the_entry_points_of_the_project():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["goldherd"] == BUILTIN


def test_builtin_plugins_come_first():
    names = [name for name, _ in installed()]
    assert names[: len(BUILTIN)] == list(BUILTIN)


def test_plugins_of_others_are_found_by_entry_point(module, tmp_path):
    module("zoo", "")
    info = tmp_path / "zoo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[goldherd]\nzoo = zoo\nauth_none = zoo\n")
    assert installed()[-1] == ("zoo", "zoo")
    # A plugin that takes the name of one of ours is declined, not dropped silently.
    hooks = Hooks()
    assert [declined.name for declined in hooks.declined] == ["auth_none"]
    assert asyncio.run(hooks.start_login("i", "t", None)).method == "None"


def test_object_of_a_module_can_be_a_plugin(module):
    module(
        "stock",
        """
        from goldherd.hookspecs import Redirect, hookimpl
        class Plugin:
            @hookimpl
            def list_targets(self, targets):
                return [targets[0].name]
        plugin = Plugin()
        """,
    )
    hooks = Hooks([("stock", "stock:plugin")])
    assert (hooks.names, hooks.declined) == (["stock"], [])
    assert asyncio.run(hooks.list_targets("i", "p", TARGETS)) == [TARGETS[0].name]


@pytest.mark.parametrize(
    "source",
    [
        "import there_is_no_such_module",
        "this is not python",
        "raise SystemExit(1)",
        "1 / 0",
        "from goldherd.hookspecs import hookimpl\n@hookimpl\ndef open_imagine(url): ...",
        "from goldherd.hookspecs import hookimpl\n@hookimpl\ndef open_image(address): ...",
        f"goldherd_abi = {ABI + 1}",
    ],
    ids=["missing import", "syntax", "exit", "exception", "unknown hook", "unknown argument", "other ABI"],
)
def test_broken_plugin_is_declined_and_the_others_stay(module, source):
    module("broken", source)
    module("good", "from goldherd.hookspecs import hookimpl\n@hookimpl\ndef list_targets(): return []\n")
    hooks = Hooks([("broken", "broken"), ("good", "good")])
    assert hooks.names == ["good"]
    (declined,) = hooks.declined
    assert declined.name == "broken"
    assert declined.reason.startswith("The plugin broken is not used: ")
    assert declined.reason.endswith(".")
    assert asyncio.run(hooks.list_targets("i", "p", TARGETS)) == []


def test_plugin_of_this_abi_is_taken():
    hooks = Hooks([])
    assert hooks.register(SimpleNamespace(goldherd_abi=ABI), "native")


def test_second_plugin_of_one_name_is_declined():
    hooks = hooks_with(hook("list_targets", lambda: [TARGETS[0].name]))
    assert not hooks.register(hook("list_targets", lambda initiator: []), "plugin0")
    assert asyncio.run(hooks.list_targets("i", "p", TARGETS)) == [TARGETS[0].name]


def test_exception_of_a_plugin_names_it():
    hooks = hooks_with(hook("open_image", lambda url: url[10**9]))
    with pytest.raises(PluginError, match="plugin0 failed in open_image"):
        hooks.formats.open("x:y", "r", Opener())


def test_error_of_the_house_passes_as_it_is():
    def refuse(url):
        raise ImageError("This disk is broken.")

    with pytest.raises(ImageError, match=r"^This disk is broken\.$"):
        hooks_with(hook("open_image", refuse)).formats.open("x:y", "r", Opener())


def test_last_registered_plugin_is_asked_first():
    one, two = MemoryImage(512), MemoryImage(512)
    hooks = hooks_with(hook("open_image", lambda: one), hook("open_image", lambda: two))
    assert hooks.formats.open("x:y", "r", Opener()) is two


# --- a test per hook ---


def test_list_targets():
    names = [target.name for target in TARGETS]
    assert asyncio.run(hooks_with().list_targets("iqn.2026-11.a:b", "192.0.2.1:3260", TARGETS)) == sorted(names)
    asked = []

    def listen(initiator, portal, targets):
        asked.append((initiator, portal, targets))

    asyncio.run(hooks_with(hook("list_targets", listen)).list_targets("iqn.2026-11.a:b", "192.0.2.1:3260", TARGETS))
    assert asked == [("iqn.2026-11.a:b", "192.0.2.1:3260", TARGETS)]
    # The first answer that is not None counts, last registered first.
    hooks = hooks_with(
        hook("list_targets", lambda: [names[1]]),
        hook("list_targets", lambda: [names[2], names[0]]),
        hook("list_targets", lambda: None),
    )
    assert asyncio.run(hooks.list_targets("iqn.2026-11.a:b", "192.0.2.1:3260", TARGETS)) == [names[2], names[0]]
    # Hiding everything is an answer too.
    assert asyncio.run(hooks_with(hook("list_targets", lambda: ())).list_targets("i", "p", TARGETS)) == []
    # A plugin never adds a target, nor shows one twice.
    adding = hooks_with(hook("list_targets", lambda: [names[0], "iqn.2026-11.secret:x", names[0]]))
    assert asyncio.run(adding.list_targets("i", "p", TARGETS)) == [names[0]]
    # With no plugin at all, the rules alone decide.
    assert asyncio.run(Hooks([]).list_targets("i", "p", TARGETS)) == sorted(names)


def test_start_login():
    assert asyncio.run(hooks_with().start_login("i", "t", None)).method == "None"
    assert asyncio.run(hooks_with().start_login("i", None, CREDENTIALS)).method == "CHAP"
    special = SimpleNamespace(method="Z-badge", prefix="X-badge.", finished=False, step=dict)
    hooks = hooks_with(hook("start_login", lambda initiator: special if initiator == "i" else None))
    exchange = asyncio.run(hooks.start_login("i", "t", CREDENTIALS))
    assert (exchange.method, exchange.prefix, exchange.finished) == ("Z-badge", "X-badge.", False)
    assert asyncio.run(hooks.start_login("j", "t", CREDENTIALS)).method == "CHAP"


def test_start_login_without_a_plugin_for_the_credentials():
    assert asyncio.run(Hooks([]).start_login("i", "t", None)) is None
    with pytest.raises(ProtocolError) as refusal:
        asyncio.run(Hooks([]).start_login("i", "t", CREDENTIALS))
    assert refusal.value.login_status == LoginStatus(2, 1)


def test_image_formats(tmp_path):
    zoo = ZooFormat()
    hooks = hooks_with(hook("image_formats", lambda: zoo), hook("image_formats", lambda: (FarmFormat(),)))
    assert [form.name for form in hooks.formats] == ["zoo", "farm"]
    assert (hooks.formats.owner("zoo"), hooks.formats.owner("farm")) == ("plugin0", "plugin1")
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"a zebra")
    large.write_bytes(bytes(range(256)) * 100)
    assert hooks.formats.probe(small) == "zoo"
    assert hooks.formats.probe(large) == "raw"
    data = large.read_bytes()
    assert zoo.seen == [(small, b"a zebra", b"a zebra"), (large, data[:4096], data[-4096:])]


def test_open_image():
    image = MemoryImage(4096)
    formats = hooks_with(hook("open_image", lambda url: image if url.startswith("mem:") else None)).formats
    assert formats.open("mem:x", "rw", Opener()) is image
    assert isinstance(formats.open("mem:x", "r", Opener()), Image)
    with pytest.raises(ImageError, match="no plugin knows the format zoo"):
        formats.open("zoo:/disk", "r", Opener())
    with pytest.raises(PluginError, match="mode"):
        formats.open("mem:x", "w", Opener())
    with pytest.raises(SettingsError, match="The format mem has no options"):
        formats.open("mem:x", "r", Opener(), (("fast", ""),))
    with pytest.raises(PluginError, match="instead of an Image"):
        hooks_with(hook("open_image", lambda: b"disk")).formats.open("mem:x", "r", Opener())


def test_wrap_image():
    class Loud(FilterImage):
        def read_into(self, offset_bytes, target):
            super().read_into(offset_bytes, target)
            target[:1] = b"!"

    plugin = hook("wrap_image", lambda image, options: Loud(image) if options.name == "loud" else None)
    formats = hooks_with(plugin).formats
    image = MemoryImage(4096)
    assert formats.wrap(image, ()) is image
    wrapped = formats.wrap(image, (FilterSpec("loud"), FilterSpec("loud")))
    assert wrapped.below.below is image
    wrapped.write(0, memoryview(b"abc" + bytes(509)))
    assert (wrapped.read(0, 3), image.read(0, 3)) == (b"!bc", b"abc")
    with pytest.raises(ImageError, match="no plugin has the filter quiet"):
        formats.wrap(image, (FilterSpec("quiet"),))
    with pytest.raises(PluginError, match="instead of an Image"):
        hooks_with(hook("wrap_image", lambda: 7)).formats.wrap(image, (FilterSpec("seven"),))


def test_image_filters():
    named = hook("image_filters", lambda: {"loud": dict, "quiet": dict})
    records = {record.name: record for record in hooks_with(named).formats.plugins}
    assert records["plugin0"].filters == ("loud", "quiet")
    for senseless in (lambda: ["loud"], lambda: {7: dict}, lambda: 1 / 0):
        hooks = hooks_with(hook("image_filters", senseless))
        assert hooks.formats.plugins[-1].name == "plugin0" and hooks.formats.plugins[-1].state == "declined"


def test_records_tell_what_plugins_are_and_bring(module, tmp_path):
    module("zoo", "from goldherd.hookspecs import hookimpl\n@hookimpl\ndef list_targets(): return []\n")
    module("worn", f"goldherd_abi = {ABI + 1}")
    info = tmp_path / "zoo-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[goldherd]\nzoo = zoo\nworn = worn\n")
    hooks = Hooks()
    hooks.register(SimpleNamespace(goldherd_abi=ABI), "native")
    records = {record.name: record for record in hooks.formats.plugins}
    assert (records["zoo"].version, records["zoo"].hooks) == ("1.5", ("list_targets",))
    assert (records["vhd"].version, records["vhd"].abi) == (goldherd.__version__, None)
    assert records["vhd"].formats == ("vhd", "vhd-fixed") and records["filter_delay"].filters == ("delay",)
    assert (records["native"].abi, records["native"].version) == (ABI, None)
    assert records["worn"].state == "declined" and "image ABI" in records["worn"].reason


def test_session_opened():
    opened = []
    hooks = hooks_with(hook("session_opened", lambda session: opened.append(session)))
    hooks.session_opened(SESSION)
    hooks.settle()
    assert opened == [SNAPSHOT]


def test_session_closed():
    closed = []
    plugin = hook("session_closed", lambda session, reason: closed.append((session, reason)))
    hooks = hooks_with(plugin)
    hooks.session_closed(SESSION, "logout")
    hooks.settle()
    assert closed == [(SNAPSHOT, "logout")]


def test_node_silent() -> None:
    told = []
    plugin = hook("node_silent", lambda node, seconds: told.append((node, seconds)))
    hooks = Hooks(())
    assert hooks.register(plugin, "watch", ours=True)
    hooks.node_silent("pc-001", 300.5)
    assert told == [("pc-001", 300.5)]


def test_power_cycle() -> None:
    hooks = Hooks(())
    assert asyncio.run(hooks.power_cycle("pc-001")) is None, "no plugin has power over it"
    assert hooks.register(hook("power_cycle", lambda node: node == "pc-001"), "power", ours=True)
    assert asyncio.run(hooks.power_cycle("pc-001")) is True
    assert asyncio.run(hooks.power_cycle("pc-002")) is False
    assert hooks.register(hook("power_cycle", lambda node: "done"), "wrong", ours=True)
    with pytest.raises(GoldherdError, match="True or False"):
        asyncio.run(hooks.power_cycle("pc-001"))


def test_node_booted():
    booted = []
    plugin = hook("node_booted", lambda node, session: booted.append((node, session.address)))
    hooks = hooks_with(plugin)
    hooks.node_booted("pc-001", SESSION)
    hooks.settle()
    assert booted == [("pc-001", "192.0.2.7")]


@pytest.mark.parametrize("failure", [ZeroDivisionError(), GoldherdError("No."), SystemExit(1)])
def test_notification_reaches_everybody_whatever_one_plugin_does(failure):
    opened = []

    def fail(session):
        raise failure

    def hear(session):
        opened.append(session)

    hooks = hooks_with(hook("session_opened", hear), hook("session_opened", fail), hook("session_opened", hear))
    hooks.session_opened(SESSION)
    hooks.settle()
    assert opened == [SNAPSHOT, SNAPSHOT]


# --- redirecting logins ---


@pytest.mark.parametrize("address", ["10.0.0.2:3260", "san.example.org:13260,2", "[2001:db8::1]:3260,65535"])
def test_redirect_login(address):
    hooks = hooks_with(hook("redirect_login", lambda target: Redirect(address) if target.endswith(":a") else None))
    assert asyncio.run(hooks.redirect_login("iqn.2026-11.i:i", TARGETS[1].name, "10.0.0.1:3260")) == Redirect(address)
    assert asyncio.run(hooks.redirect_login("iqn.2026-11.i:i", TARGETS[0].name, "10.0.0.1:3260")) is None


def test_redirect_login_of_nobody_is_none():
    assert asyncio.run(hooks_with().redirect_login("iqn.2026-11.i:i", TARGETS[0].name, "10.0.0.1:3260")) is None


@pytest.mark.parametrize(
    "address", ["", "10.0.0.2", "10.0.0.2:", "a b:1", "2001:db8::1", "[::1]", "h:0", "h:65536", "h:1,x"]
)
def test_redirect_login_without_a_port_is_the_plugins_fault(address):
    hooks = hooks_with(hook("redirect_login", lambda: Redirect(address)))
    with pytest.raises(PluginError, match="HOST:PORT"):
        asyncio.run(hooks.redirect_login("iqn.2026-11.i:i", TARGETS[0].name, "10.0.0.1:3260"))
