"""NodeService: the description of a node, and its handover to a successor."""

# ruff: noqa: ARG002 - a remote call takes what gRPC hands it

from typing import Any, Protocol, TypeAlias

import grpc.aio

from perdure_core.limits import BUCKETS
from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_host.metrics import perdure_version
from perdure_host.telemetry import open_log
from perdure_proto.v1 import node_pb2, node_pb2_grpc

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_log = open_log("perdure.gateway")


class Node(Protocol):
    """The process that this gateway belongs to."""

    @property
    def name(self) -> str:
        """Return the node's name."""
        ...

    @property
    def incarnation(self) -> int:
        """Return the fencing number that the node writes under; 0 before it has one."""
        ...

    async def hand_over(self) -> None:
        """Drain, release the buckets, and start to stop; return once that is durable."""
        ...


class NodeService(node_pb2_grpc.NodeServiceServicer):
    """Answers at any time, whether the node serves or not."""

    def __init__(self, node: Node, readiness: Readiness) -> None:
        self._node = node
        self._readiness = readiness

    async def Describe(
        self, request: node_pb2.DescribeRequest, context: _Context
    ) -> node_pb2.DescribeResponse:
        status = self._readiness.status
        owner = status in (NodeStatus.SERVING, NodeStatus.DRAINING)
        return node_pb2.DescribeResponse(
            node_name=self._node.name,
            incarnation=self._node.incarnation,
            status=status,
            buckets_owned=BUCKETS if owner else 0,
            version=perdure_version(),
        )

    async def HandOver(
        self, request: node_pb2.HandOverRequest, context: _Context
    ) -> node_pb2.HandOverResponse:
        self._readiness.require_serving()
        _log.info("handover requested", successor=request.successor[:200])
        await self._node.hand_over()
        return node_pb2.HandOverResponse(incarnation=self._node.incarnation)
