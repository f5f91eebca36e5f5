"""The default answer to SendTargets=All: every target the initiator may see, in name order."""

from collections.abc import Iterable, Sequence

from goldherd.hookspecs import TargetRecord, hookimpl


@hookimpl(trylast=True)
def list_targets(targets: Sequence[TargetRecord]) -> Iterable[str]:
    """Hides nothing; answers after every other plugin had its say."""
    return sorted(target.name for target in targets)
