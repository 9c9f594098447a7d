"""Failures of the database, as callers of the gateway see them."""

from typing import Any

import grpc

from perdure_host import errors
from perdure_host.memory_store import MemoryStore
from perdure_proto.v1 import client_pb2
from tests.gateway.serving import Peer, failure_of, run, serving, start_request

Code = grpc.StatusCode


class DownStore(MemoryStore):
    """A store whose commits fail."""

    is_down = False

    async def commit(
        self, incarnation: int, changes: Any, outbox_done: Any = (), status_events_done: Any = ()
    ) -> Any:
        if self.is_down:
            raise errors.StoreUnavailable("cannot write to sqlite:///x.db: the disk is full")
        return await super().commit(incarnation, changes, outbox_done, status_events_done)


def test_a_database_that_is_down_or_full_makes_calls_unavailable() -> None:
    async def main() -> None:
        store = DownStore()
        async with serving(store=store) as served:
            await Peer.connect(served)
            store.is_down = True
            failure = await failure_of(served.executions.StartExecution(start_request()))
            assert failure.code() is Code.UNAVAILABLE
            assert "the disk is full" in (failure.details() or "")
            listed = await served.executions.ListExecutions(client_pb2.ListExecutionsRequest())
            assert list(listed.executions) == []

    run(main)
