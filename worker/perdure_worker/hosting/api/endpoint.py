"""Endpoint that the AWS SDK of a handler takes for the Lambda API: on loopback, one per worker.

Checkpoints and pages of the state are served here, over the worker's own session; a server needs
no HTTP port for that. Some other calls are passed on to a node, if one was named. Each process has
a URL of its own, and acts for the invocation that it runs.
"""

import secrets
from typing import Final
from urllib.parse import parse_qs, unquote

from perdure.worker_api import CheckpointWriter, Invocation
from perdure_core.refusals import Invalid, Refused
from perdure_host.access.host_names import HostNames
from perdure_host.lambda_json.browser_check import check_no_browser
from perdure_host.lambda_json.checkpoints import CHECKPOINT_REFUSED, checkpoint_request
from perdure_host.lambda_json.failures import UNAVAILABLE, Code, LambdaError, failure
from perdure_host.lambda_json.queries import page_items_of
from perdure_host.telemetry import open_log, report_incident
from perdure_worker.hosting.api.bridge import BRIDGE_ID_BYTES, CheckpointBridge, bridge_id_of
from perdure_worker.hosting.api.forwarding import LambdaProxy
from perdure_worker.hosting.api.http_server import (
    HOST,
    Answer,
    HttpServer,
    Request,
    failure_answer,
    json_answer,
)
from perdure_worker.hosting.api.process_access import ProcessAccess, ProcessAccesses, check_lent

_EXECUTIONS: Final = "/2025-12-01/durable-executions/"
_CHECKPOINT: Final = "/checkpoint"
_STATE: Final = "/state"

_NAMES: Final = HostNames(HOST)

_log = open_log("perdure.worker.hosting")


class Endpoint:
    """Serves the invocations that are open. Belongs to a loop."""

    def __init__(self, forwarding: LambdaProxy | None) -> None:
        self.url = ""
        self._forwarding = forwarding
        self._bridges: dict[bytes, CheckpointBridge] = {}
        self._processes = ProcessAccesses()
        self._server = HttpServer(self._respond, self._admit)

    async def start(self) -> None:
        """Listen; `url` says where."""
        self.url = await self._server.start()

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()
        if self._forwarding is not None:
            self._forwarding.close()

    def admit_process(self) -> ProcessAccess:
        """Return the access of a new process; it has a URL of its own."""
        return self._processes.add(self.url)

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

    def _admit(self, request: Request) -> None:
        """Raise LambdaError unless a handler of this worker has sent the head."""
        check_no_browser([name for name, _value in request.headers])
        problem = _NAMES.problem(request.header("host"), None, reached=HOST)
        if problem is not None:
            raise LambdaError(Code.ACCESS_DENIED, problem)
        if "#" in request.target:
            raise LambdaError(Code.PARAMETER_INVALID, "the path of a request has no fragment")
        self._processes.find(unquote(request.target.partition("?")[0]))

    async def _answer(self, request: Request) -> Answer:
        raw_path, _, query = request.target.partition("?")
        # Again, for the invocation may have ended while the body came.
        request_id, path = self._processes.find(unquote(raw_path))
        if path.startswith(_EXECUTIONS):
            rest = path.removeprefix(_EXECUTIONS)
            if request.method == "POST" and rest.endswith(_CHECKPOINT):
                arn = rest.removesuffix(_CHECKPOINT)
                return await self._checkpoint(request_id, arn, request.body)
            if request.method == "GET" and rest.endswith(_STATE):
                return self._state(request_id, rest.removesuffix(_STATE), query)
        if self._forwarding is None:
            raise LambdaError(
                Code.OPERATION_UNKNOWN,
                f"{request.method} {path}: this worker serves checkpoints only. Start it with"
                " --lambda-endpoint URL to let handlers call the rest of the Lambda API",
            )
        check_lent(request.method, path)
        return await self._forwarding.forward(request)

    async def _checkpoint(self, request_id: str, arn: str, body: bytes) -> Answer:
        request = checkpoint_request(body)
        bridge = self._bridge(request_id, arn, request.token)
        return json_answer(await bridge.checkpoint(request))

    def _state(self, request_id: str, arn: str, query: str) -> Answer:
        fields = parse_qs(query)
        token, marker, limit = (
            fields.get(name, [""])[-1] for name in ("CheckpointToken", "Marker", "MaxItems")
        )
        if not token:
            raise Invalid("CheckpointToken is required")
        bridge = self._bridge(request_id, arn, token)
        return json_answer(bridge.state(token, marker, page_items_of(limit)))

    def _bridge(self, request_id: str, arn: str, token: str) -> CheckpointBridge:
        bridge = self._bridges.get(bridge_id_of(token))
        # A token that another process was given is as unknown here as one that has ended.
        if bridge is None or bridge.request_id != request_id:
            raise Invalid(f"{CHECKPOINT_REFUSED}: its invocation is not running here, or has ended")
        if bridge.execution_arn != arn:
            raise Invalid(f"{CHECKPOINT_REFUSED}: it belongs to another execution")
        return bridge
