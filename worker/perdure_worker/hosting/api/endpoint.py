"""Endpoint that the AWS SDK of a handler takes for the Lambda API: on loopback, one per worker.

Checkpoints and pages of the state are served here, over the worker's own session; a server needs
no HTTP port for that. Everything else is passed on to a node, if one was named.
"""

import secrets
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from perdure.worker_api import CheckpointWriter, Invocation
from perdure_core.refusals import Invalid, Refused
from perdure_host.lambda_json.browser_check import check_no_browser
from perdure_host.lambda_json.checkpoints import CHECKPOINT_REFUSED, checkpoint_request
from perdure_host.lambda_json.failures import UNAVAILABLE, Code, LambdaError, failure
from perdure_host.lambda_json.queries import page_items_of
from perdure_host.telemetry import open_log, report_incident
from perdure_worker.hosting.api.bridge import BRIDGE_ID_BYTES, CheckpointBridge, bridge_id_of
from perdure_worker.hosting.api.forwarding import LambdaProxy
from perdure_worker.hosting.api.http_server import (
    Answer,
    HttpServer,
    Request,
    failure_answer,
    json_answer,
)

_EXECUTIONS: Final = "/2025-12-01/durable-executions/"
_CHECKPOINT: Final = "/checkpoint"
_STATE: Final = "/state"

_log = open_log("perdure.worker.hosting")


class Endpoint:
    """Serves the invocations that are open. Belongs to a loop."""

    def __init__(self, forwarding: LambdaProxy | None) -> None:
        self.url = ""
        self._forwarding = forwarding
        self._bridges: dict[bytes, CheckpointBridge] = {}
        self._server = HttpServer(self._respond)

    async def start(self) -> None:
        """Listen; `url` says where."""
        self.url = await self._server.start()

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()
        if self._forwarding is not None:
            self._forwarding.close()

    def open(self, invocation: Invocation, checkpoints: CheckpointWriter) -> CheckpointBridge:
        """Serve the checkpoints of an invocation until `shut`."""
        bridge = CheckpointBridge(secrets.token_bytes(BRIDGE_ID_BYTES), invocation, checkpoints)
        self._bridges[bridge.id] = bridge
        return bridge

    def shut(self, bridge: CheckpointBridge) -> None:
        """Accept nothing more for an invocation."""
        del self._bridges[bridge.id]

    async def _respond(self, request: Request) -> Answer:
        try:
            return await self._answer(request)
        except LambdaError as error:
            unavailable = UNAVAILABLE if error.code is Code.SERVICE else None
            return failure_answer(failure(error.code, str(error), unavailable))
        except Refused as error:
            return failure_answer(failure(Code.PARAMETER_INVALID, str(error)))
        except Exception as error:  # noqa: BLE001 - the boundary: nothing passes untranslated
            incident = report_incident(_log, error)
            text = f"internal error; the worker's log tells more as incident {incident}"
            return failure_answer(failure(Code.SERVICE, text))

    async def _answer(self, request: Request) -> Answer:
        check_no_browser([name for name, _value in request.headers])
        parts = urlsplit(request.target)
        path = unquote(parts.path)
        if path.startswith(_EXECUTIONS):
            rest = path.removeprefix(_EXECUTIONS)
            if request.method == "POST" and rest.endswith(_CHECKPOINT):
                return await self._checkpoint(rest.removesuffix(_CHECKPOINT), request.body)
            if request.method == "GET" and rest.endswith(_STATE):
                return self._state(rest.removesuffix(_STATE), parts.query)
        if self._forwarding is None:
            raise LambdaError(
                Code.OPERATION_UNKNOWN,
                f"{request.method} {path}: this worker serves checkpoints only. Start it with"
                " --lambda-endpoint URL to let handlers call the rest of the Lambda API",
            )
        return await self._forwarding.forward(request)

    async def _checkpoint(self, arn: str, body: bytes) -> Answer:
        request = checkpoint_request(body)
        return json_answer(await self._bridge(arn, request.token).checkpoint(request))

    def _state(self, arn: str, query: str) -> Answer:
        fields = parse_qs(query)
        token, marker, limit = (
            fields.get(name, [""])[-1] for name in ("CheckpointToken", "Marker", "MaxItems")
        )
        if not token:
            raise Invalid("CheckpointToken is required")
        bridge = self._bridge(arn, token)
        return json_answer(bridge.state(token, marker, page_items_of(limit)))

    def _bridge(self, arn: str, token: str) -> CheckpointBridge:
        bridge = self._bridges.get(bridge_id_of(token))
        if bridge is None:
            raise Invalid(f"{CHECKPOINT_REFUSED}: its invocation is not running here, or has ended")
        if bridge.execution_arn != arn:
            raise Invalid(f"{CHECKPOINT_REFUSED}: it belongs to another execution")
        return bridge
