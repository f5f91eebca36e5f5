"""The image formats and filters of all plugins: found once, checked, and called under the plugin's name.

A URL is "format:location". The location reaches the format unchanged. A plugin that has no Format and answers the
hook `open_image` brings a format that can be opened, and nothing else (the short door).

Each exception of a format besides a GoldherdError is charged to its plugin (faults.py). Start reading at
block/format.py for the contract.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from goldherd.block.containers import Container, container_of_content, container_of_name
from goldherd.block.filter import BorrowedImage
from goldherd.block.format import ANY, Capabilities, Format, NoOptions, Opener
from goldherd.block.format import Place as Place
from goldherd.block.image import Image
from goldherd.errors import GoldherdError, ImageError, PluginError, raise_for_shortage
from goldherd.limits import FILTERS_MAX, PROBE_BYTES
from goldherd.model.options import FilterSpec, OptionTexts, read_options
from goldherd.model.plugins import PluginRecord

FALLBACK_FORMAT: Final = "raw"
"""What a file is when no plugin knows better and nothing says that it is a container."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")

T = TypeVar("T")


class Plugins(Protocol):
    """The hooks that formats and filters come from (goldherd.hooks.Hooks)."""

    def records(self) -> Sequence[PluginRecord]:
        """The plugins in use, then those that are not; formats and filters are not in it."""
        ...

    def image_formats(self) -> Iterable[tuple[str, object]]:
        """(plugin, answer) of every plugin that has the hook, in the order of registration."""
        ...

    def image_filters(self) -> Iterable[tuple[str, object]]:
        """(plugin, answer) of every plugin that names its filters, in the order of registration."""
        ...

    def open_image(self, url: str, mode: str, opener: Opener) -> object:
        """The first answer of the short door; None when there is none."""
        ...

    def wrap_image(self, image: Image, options: FilterSpec) -> object:
        """The first filter of that name over the image; None when no plugin has it."""
        ...

    def decline_format(self, plugin: str, reason: str) -> None:
        """Notes that a format is not used, and why."""
        ...

    def charge(self, plugin: str, what: str, failure: BaseException) -> GoldherdError:
        """The error for what a plugin raised or answered: logged, and counted as its fault."""
        ...


class Formats:
    """All formats, by name; asked on threads that may sleep."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._formats: dict[str, Format] = {}
        self._owners: dict[str, str] = {}
        for plugin, answer in plugins.image_formats():
            if answer is not None:
                self._add(plugin, answer)
        self._filters: dict[str, str] = {}
        """The filters that plugins name, and whose each is."""
        for plugin, answer in plugins.image_filters():
            if answer is not None:
                self._add_filters(plugin, answer)

    def _add(self, plugin: str, answer: object) -> None:
        """Takes the formats that a plugin answered; declines what is none, or has a name that is taken."""
        for each in answer if isinstance(answer, list | tuple) else (answer,):
            reason = _unusable(each)
            name = getattr(each, "name", "")
            if reason is None and name in self._formats:
                reason = f"the plugin {self._owners[name]} has a format {name} already. Rename one of the two."
            if reason is not None:
                self._plugins.decline_format(plugin, reason)
                continue
            self._formats[name] = each
            self._owners[name] = plugin

    def _add_filters(self, plugin: str, answer: object) -> None:
        """Takes the names of the filters of a plugin."""
        if not isinstance(answer, Mapping) or not all(isinstance(name, str) for name in answer):
            reason = f"it answered image_filters with {type(answer).__name__} instead of names and types. Update it."
            self._plugins.decline_format(plugin, reason)
            return
        for name in answer:
            self._filters.setdefault(name, plugin)

    # --- what there is ---

    @property
    def plugins(self) -> Sequence[PluginRecord]:
        """The plugins in use with what they bring, then those that are not used."""
        return [
            record
            if record.state == "declined"
            else replace(
                record,
                formats=tuple(name for name, owner in self._owners.items() if owner == record.name),
                filters=tuple(name for name, owner in self._filters.items() if owner == record.name),
            )
            for record in self._plugins.records()
        ]

    def __iter__(self) -> Iterator[Format]:
        """The formats in the order of registration: goldherd's own first."""
        return iter(self._formats.values())

    def owner(self, name: str) -> str:
        """The plugin that brought a format."""
        return self._owners[name]

    def find(self, name: str) -> Format | None:
        """The format of that name; None when there is none, or only a plugin with the short door."""
        return self._formats.get(name)

    def options(self, name: str) -> type[Any]:
        """The type of a format's options; a plugin with the short door has none."""
        form = self._formats.get(name)
        return NoOptions if form is None else form.options

    def capabilities(self, name: str) -> Capabilities:
        """What a format can; nothing but being read, and written if it likes, for a plugin with the short door."""
        form = self._formats.get(name)
        return Capabilities(write=True, file=False) if form is None else form.capabilities

    def child_format(self, parent: str) -> Format | None:
        """The format of the differencing children of a parent: its own if it has children, else the first that takes
        it as a parent; None when the parent can't have any."""
        own = self._formats.get(parent)
        takers = ([own] if own is not None else []) + list(self._formats.values())
        return next((form for form in takers if form.capabilities.parents & {parent, ANY}), None)

    # --- what they do ---

    def probe(self, path: Path) -> str:
        """The format of a file, as its plugins see it; "raw" when no plugin knows it and it is no container.

        Raises: ImageError when it is missing, unreadable, neither a regular file nor a block device, or a container
            that no plugin claims.
        """
        head, tail = ends_of(path)
        for name, form in reversed(self._formats.items()):  # others are asked before ours
            if self._call(name, "probe", form.probe, path, head, tail):
                return name
        container = container_of_content(head, tail)
        if container is not None:
            raise self._ambiguous(path, container, "carries the mark of")
        container = container_of_name(path)
        if container is not None:
            raise self._ambiguous(path, container, "has the name, and not the content, of")
        return FALLBACK_FORMAT

    def _ambiguous(self, path: Path, container: Container, how: str) -> ImageError:
        """The refusal for what looks like a container and was not said to be anything."""
        article = "an" if container.name[0] in "AEO" else "a"
        openable = container.format is not None and container.format in self._formats
        ways = f"say format={container.format} to open it as that" if openable else container.advice
        return ImageError(
            f"{path} {how} {article} {container.name}: served as a raw disk, it would be useless to the initiator and "
            f"could be destroyed by it; {ways}, or say format=raw if the disk itself holds these bytes.",
            path=str(path),
        )

    def open(self, url: str, mode: str, opener: Opener, options: OptionTexts = ()) -> Image:
        """Opens "format:location" for reading ("r") or also writing ("rw").

        Raises: ImageError when it can't; SettingsError for an option that the format does not have.
        """
        if mode not in ("r", "rw"):
            raise PluginError(f"An image is opened with mode r or rw, not {mode!r}.")
        name, _, location = url.partition(":")
        form = self._formats.get(name)
        if form is None:
            read_options(NoOptions, options, f"The format {name}")
            answer = self._plugins.open_image(url, mode, opener)
            if answer is None:
                raise _unknown(url, "open")
            return _unwrapped(answer, "open_image")
        typed = read_options(form.options, options, f"The format {name}")
        mode = mode if form.capabilities.write else "r"
        image = self._call(name, "open", form.open, location, mode, opener, typed)
        if not isinstance(image, Image):
            wrong = PluginError(f"it answered with {type(image).__name__} instead of an Image")
            raise self._plugins.charge(self._owners[name], f"open of the format {name}", wrong)
        return image

    def create(self, url: str, size_bytes: int, parent: Place | None = None, options: OptionTexts = ()) -> None:
        """Makes a new, empty image at "format:location"; ImageError when it can't."""
        name, _, location = url.partition(":")
        form = self._known(url, "create")
        if not form.capabilities.create:
            raise form.refusal(location, "makes no images")
        if parent is not None and not form.capabilities.parents & {parent.format, ANY}:
            raise form.refusal(location, f"makes no differencing disks over the format {parent.format}")
        typed = read_options(form.options, options, f"The format {name}")
        self._call(name, "create", form.create, location, size_bytes, parent, typed)

    def check(self, url: str) -> Sequence[str]:
        """What is wrong with an image, a sentence each; empty if it is sound or its format can't tell."""
        name, _, location = url.partition(":")
        form = self._formats.get(name)
        return () if form is None else self._call(name, "check", form.check, location)

    def identity(self, url: str) -> str | None:
        """The mark by which children know an image; None: it has none."""
        name, _, location = url.partition(":")
        form = self._formats.get(name)
        return None if form is None else self._call(name, "identity", form.identity, location)

    def resize(self, url: str, size_bytes: int, options: OptionTexts = ()) -> None:
        """Gives an image that is not open another size; ImageError when its format can't."""
        name, _, location = url.partition(":")
        form = self._known(url, "resize")
        if not form.capabilities.resize:
            raise form.refusal(location, "changes no sizes")
        typed = read_options(form.options, options, f"The format {name}")
        self._call(name, "resize", form.resize, location, size_bytes, typed)

    def snapshot(self, url: str, target: str) -> None:
        """Makes a copy of one moment at another location of the same format; ImageError when the format can't."""
        name, _, location = url.partition(":")
        form = self._known(url, "copy")
        if not form.capabilities.snapshot:
            raise form.refusal(location, "makes no snapshots")
        self._call(name, "snapshot", form.snapshot, location, target)

    def wrap(self, image: Image, filters: Sequence[FilterSpec]) -> Image:
        """The image under its filters, the first of them nearest to it; the image itself without any.

        Raises: ImageError for a filter that no plugin has, SettingsError for its options. The image stays open.
        """
        if len(filters) > FILTERS_MAX:
            raise ImageError(f"{image.path} has {len(filters)} filters; {FILTERS_MAX} are the limit.", path=image.path)
        for wanted in filters:
            answer = self._plugins.wrap_image(image, wanted)
            if answer is None:
                raise ImageError(
                    f"Could not open {image.path}: no plugin has the filter {wanted.name}. Install its plugin, or "
                    "leave the filter out.",
                    path=image.path,
                )
            image = _unwrapped(answer, "wrap_image")
        return image

    def check_filters(self, image: Image, filters: Sequence[FilterSpec]) -> None:
        """Raises ImageError or SettingsError unless the image can be put under these filters; it stays open."""
        if filters:
            self.wrap(BorrowedImage(image), filters).close()

    # --- calling ---

    def _known(self, url: str, doing: str) -> Format:
        form = self._formats.get(url.partition(":")[0])
        if form is None:
            raise _unknown(url, doing)
        return form

    def _call(self, name: str, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a format's method; its surprises are charged to the plugin."""
        try:
            return function(*arguments)
        except (Exception, SystemExit) as failure:
            raise self._plugins.charge(self._owners[name], f"{what} of the format {name}", failure) from failure


def _unusable(answer: object) -> str | None:
    """Why an answer of image_formats is no format; None: it is one."""
    if not isinstance(answer, Format):
        return f"it answered image_formats with {type(answer).__name__} instead of a Format. Update or remove it."
    name = getattr(answer, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"its format is called {name!r}; a name has lower-case letters, digits and hyphens. Update it."
    if not isinstance(answer.capabilities, Capabilities):
        return f"the capabilities of its format {name} are a {type(answer.capabilities).__name__}. Update it."
    return None


def _unwrapped(answer: object, hook: str) -> Image:
    """The answer of a hook whose plugins are checked already; its wrappers are not."""
    if not isinstance(answer, Image):
        raise PluginError(f"A wrapper of {hook} answered with {type(answer).__name__} instead of an Image. Remove it.")
    return answer


def _unknown(url: str, doing: str) -> ImageError:
    """No plugin answers for a URL."""
    name, _, location = url.partition(":")
    return ImageError(
        f"Could not {doing} {location or url}: no plugin knows the format {name}. "
        "Name another one with format=NAME, or install its plugin.",
        path=location or None,
    )


def ends_of(path: Path) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file or block device, for probing.

    Raises: ImageError when it is missing, unreadable, or neither a regular file nor a block device.
    """
    try:
        # A pipe must not make us wait for a writer, and a terminal must not become ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as failure:
        raise _unreadable(path, failure) from None
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISBLK(kind):
            raise ImageError(
                f"{path} is neither a file nor a block device, so it can't be a disk; name the image itself.",
                path=str(path),
            )
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        head = os.pread(descriptor, PROBE_BYTES, 0)
        return head, os.pread(descriptor, PROBE_BYTES, max(0, size_bytes - PROBE_BYTES))
    except OSError as failure:
        raise _unreadable(path, failure) from None
    finally:
        os.close(descriptor)


def _unreadable(path: Path, failure: OSError) -> ImageError:
    raise_for_shortage(failure, path, "read")
    return ImageError(f"Could not read {path}: {failure.strerror}. Check the path and its permissions.", path=str(path))
