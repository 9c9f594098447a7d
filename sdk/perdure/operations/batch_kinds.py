"""Names of batches and their branches in the record."""

from dataclasses import dataclass
from typing import Final

from perdure.operations.identity import Identity, operation_id
from perdure_core.model import OperationType


@dataclass(frozen=True)
class BatchKind:
    """The recorded names of one kind of batch; `summary_type` is that of its summaries."""

    summary_type: str
    sub_type: str
    branch_sub_type: str
    branch_name: str

    def branch_identity(self, parent: Identity, index: int, name: str | None) -> Identity:
        """Return the identity of the branch at `index`, from 0, of the batch `parent`."""
        return Identity(
            number=index,
            id=operation_id(parent.id, index),
            type=OperationType.CONTEXT,
            sub_type=self.branch_sub_type,
            name=name or f"{self.branch_name}-{index}",
            parent_id=parent.id,
        )


MAP: Final = BatchKind("MapResult", "Map", "MapIteration", "map-item")
PARALLEL: Final = BatchKind("ParallelResult", "Parallel", "ParallelBranch", "parallel-branch")
