"""The default answer to SendTargets=All."""

from goldherd.model.targets import TargetConfig
from goldherd_plugins.discovery_sendtargets import list_targets


def test_every_visible_target_in_name_order():
    targets = [TargetConfig(f"iqn.2026-11.io.goldherd:{name}", ()) for name in ("b", "c", "a")]
    assert [name[-1] for name in list_targets(targets)] == ["a", "b", "c"]


def test_no_targets():
    assert list(list_targets([])) == []
