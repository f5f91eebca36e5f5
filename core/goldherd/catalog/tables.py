"""The tables as SQLAlchemy sees them, and the way from a row to a record.

The schema itself is made by migrations.py; tests hold the two equal.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Integer, MetaData, RowMapping, Select, String, Table, and_, exists, func, select

from goldherd.model.images import Seal, VersionRecord
from goldherd.model.nodes import Policy

metadata: Final = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, String)


def _number(name: str, *, primary_key: bool = False) -> Column[int]:
    return Column(name, Integer, primary_key=primary_key)


images: Final = Table(
    "images",
    metadata,
    _number("id", primary_key=True),
    _text("name"),
    _number("next_number"),
    _text("created_at"),
)
versions: Final = Table(
    "versions",
    metadata,
    _number("id", primary_key=True),
    _number("image_id"),
    _number("number"),
    _text("state"),
    _text("path"),
    _text("format"),
    _number("size_bytes"),
    _text("hash"),
    _text("source_hash"),
    _number("file_bytes"),
    _number("mtime_ns"),
    _text("guard"),
    _number("in_place"),
    _number("parent_id"),
    _text("created_at"),
    _text("filters"),
    _text("hash_algorithm"),
    _text("sha256"),
    _text("source_sha256"),
    _text("changed"),
    _text("changed_at"),
    _number("times_changed"),
    _text("verified_at"),
    _text("outcome"),
    _text("verity"),
)
nodes: Final = Table(
    "nodes",
    metadata,
    _number("id", primary_key=True),
    _text("name"),
    _number("image_id"),
    _number("version_id"),
    _text("policy"),
    _text("chap_user"),
    _text("created_at"),
    _text("seen_at"),
    _text("seen_address"),
)
macs: Final = Table("macs", metadata, Column("mac", String, primary_key=True), _number("node_id"))
rules: Final = Table(
    "rules",
    metadata,
    _number("node_id", primary_key=True),
    Column("kind", String, primary_key=True),
    Column("value", String, primary_key=True),
)
changes: Final = Table("changes", metadata, Column("id", String, primary_key=True))
installation: Final = Table(
    "installation", metadata, Column("id", String, primary_key=True), _number("names_disks"), _number("marked")
)
quotas: Final = Table(
    "quotas", metadata, _number("node_id", primary_key=True), _number("soft_bytes"), _number("hard_bytes")
)
disks: Final = Table("disks", metadata, _number("node_id", primary_key=True), _number("version_id", primary_key=True))

_parents = versions.alias("parents")
_parent_images = images.alias("parent_images")


def select_versions() -> Select[Any]:
    """Versions with their image's name and their parent, ready for to_version()."""
    return (
        select(
            versions,
            images.c.name.label("image"),
            _parent_images.c.name.label("parent_image"),
            _parents.c.number.label("parent_number"),
        )
        .join(images, images.c.id == versions.c.image_id)
        .outerjoin(_parents, _parents.c.id == versions.c.parent_id)
        .outerjoin(_parent_images, _parent_images.c.id == _parents.c.image_id)
    )


def to_version(row: RowMapping, data: Path) -> VersionRecord:
    """The record of a row of select_versions()."""
    return VersionRecord(
        image=row["image"],
        number=row["number"],
        state=row["state"],
        path=data / row["path"],
        format=row["format"],
        size_bytes=row["size_bytes"],
        hash=row["hash"],
        hash_algorithm=row["hash_algorithm"],
        source_hash=row["source_hash"],
        sha256=row["sha256"],
        source_sha256=row["source_sha256"],
        seal=Seal(row["file_bytes"], row["mtime_ns"], row["guard"], row["verity"]),
        in_place=bool(row["in_place"]),
        parent=f"{row['parent_image']}@{row['parent_number']}" if row["parent_image"] else None,
        created_at=row["created_at"],
        filters=tuple(json.loads(row["filters"])),
        changed=row["changed"],
        changed_at=row["changed_at"],
        times_changed=row["times_changed"],
        verified_at=row["verified_at"],
        outcome=row["outcome"],
    )


def select_nodes() -> Select[Any]:
    """Nodes with image, version, network cards and access rules, ready for to_node()."""
    cards = select(func.group_concat(macs.c.mac, " ")).where(macs.c.node_id == nodes.c.id).scalar_subquery()
    access = (
        select(func.group_concat(rules.c.kind + ":" + rules.c.value, " "))
        .where(rules.c.node_id == nodes.c.id)
        .scalar_subquery()
    )
    others = versions.alias("others")
    active = (
        select(others.c.id).where(and_(others.c.image_id == nodes.c.image_id, others.c.state == "active"))
    ).scalar_subquery()
    had_disk = exists().where(disks.c.node_id == nodes.c.id, disks.c.version_id == versions.c.id)
    return (
        select(
            nodes,
            had_disk.label("had_disk"),
            images.c.name.label("image"),
            versions.c.number.label("number"),
            versions.c.path.label("golden_path"),
            versions.c.format.label("golden_format"),
            versions.c.filters.label("filters"),
            cards.label("macs"),
            access.label("rules"),
        )
        .join(images, images.c.id == nodes.c.image_id)
        .outerjoin(versions, versions.c.id == func.coalesce(nodes.c.version_id, active))
    )


@dataclass(frozen=True, slots=True)
class StoredNode:
    """The catalog's record of a node. services/ adds what follows from it: its target's name, its disk's place."""

    name: str
    macs: tuple[str, ...]
    rules: tuple[str, ...]
    image: str
    version: int | None
    """The version of its next login; None while the image has no active one."""
    golden: Path | None
    """The sealed file of that version."""
    golden_format: str | None
    filters: tuple[str, ...]
    """The filters of that version, as text."""
    pinned: bool
    policy: Policy
    had_disk: bool
    """Whether it has had a disk on that version."""
    chap_user: str | None
    created_at: str
    seen_at: str | None
    seen_address: str | None


def to_node(row: RowMapping, data: Path) -> StoredNode:
    """The record of a row of select_nodes()."""
    return StoredNode(
        name=row["name"],
        macs=tuple(sorted((row["macs"] or "").split())),
        rules=tuple(sorted((row["rules"] or "").split())),
        image=row["image"],
        version=row["number"],
        golden=None if row["golden_path"] is None else data / row["golden_path"],
        golden_format=row["golden_format"],
        filters=tuple(json.loads(row["filters"] or "[]")),
        pinned=row["version_id"] is not None,
        policy=row["policy"],
        had_disk=bool(row["had_disk"]),
        chap_user=row["chap_user"],
        created_at=row["created_at"],
        seen_at=row["seen_at"],
        seen_address=row["seen_address"],
    )
