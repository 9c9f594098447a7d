"""Serializers of the values of branches, and of what a composition makes of them."""

from collections.abc import Sequence
from typing import Any, Final

from perdure.context.parallel_branch import ParallelBranch
from perdure.operations.composition import Composition, ListSerDes, WinnerSerDes
from perdure.serdes.serializers import ExtendedTypeSerDes, SerDes
from perdure.settings.operations import BranchesConfig, MapConfig, ParallelConfig
from perdure.typed.serdes import serdes_of_result

EXTENDED_TYPES: Final = ExtendedTypeSerDes()


def branch_serdes(
    settings: MapConfig[Any] | ParallelConfig | BranchesConfig, branch: ParallelBranch[Any]
) -> SerDes[Any]:
    """Return the serializer of the value of one branch."""
    configured = settings.item_serdes or settings.serdes
    return configured or serdes_of_result(branch.func) or EXTENDED_TYPES


def composed_serdes(
    composition: Composition, settings: BranchesConfig, branches: Sequence[ParallelBranch[Any]]
) -> SerDes[Any]:
    """Return the serializer of the value of a composition: values are written as branches do."""
    each = [branch_serdes(settings, branch) for branch in branches]
    if not composition.allows_no_branches:
        return WinnerSerDes([settings.serdes] * len(each) if settings.serdes else each)
    if settings.serdes or settings.item_serdes or all(one is EXTENDED_TYPES for one in each):
        return settings.serdes or EXTENDED_TYPES
    return ListSerDes(each)
