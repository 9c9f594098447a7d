"""What map and parallel, and their branches, are called in the record."""

from dataclasses import dataclass
from typing import Final

from perdure.operations.identity import Identity, operation_id
from perdure_core.model import OperationType


@dataclass(frozen=True)
class BatchKind:
    """The words of one kind of batch; `kind` names it in summaries."""

    kind: str
    sub_type: str
    branch_sub_type: str
    branch_name: str

    def branch_identity(self, above: Identity, index: int, name: str | None) -> Identity:
        """Return which operation the branch at `index`, from 0, of the batch `above` is."""
        return Identity(
            number=index,
            id=operation_id(above.id, index),
            type=OperationType.CONTEXT,
            sub_type=self.branch_sub_type,
            name=name or f"{self.branch_name}-{index}",
            parent_id=above.id,
        )


MAP: Final = BatchKind("MapResult", "Map", "MapIteration", "map-item")
PARALLEL: Final = BatchKind("ParallelResult", "Parallel", "ParallelBranch", "parallel-branch")
