"""Sends heartbeats for a worker, over a connection of its own."""

from typing import Any, Final

import grpc

from perdure_host.channel import ConnectionSettings, open_channel
from perdure_proto.v1 import worker_pb2

_PATH: Final = "/perdure_proto.v1.WorkerService/Heartbeat"
_CALL_S_MAX: Final = 5.0


class HeartbeatSender:
    """Sends heartbeats of one worker."""

    def __init__(self, connection: ConnectionSettings, worker_id: str) -> None:
        self._send: Any = open_channel(connection).unary_unary(
            _PATH,
            request_serializer=worker_pb2.HeartbeatRequest.SerializeToString,
            response_deserializer=worker_pb2.HeartbeatResponse.FromString,
        )
        self._request = worker_pb2.HeartbeatRequest(worker_id=worker_id)

    def send(self) -> None:
        """Send one. What fails is not repeated: the next one is soon."""
        try:
            self._send(self._request, timeout=_CALL_S_MAX)
        except grpc.RpcError:
            return
