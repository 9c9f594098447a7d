"""A node that is behind with its work refuses invocations of the Lambda API, and says how long."""

import asyncio

from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.lambda_api.application import LambdaApi
from perdure_host.metrics import ServerMetrics
from tests.gateway.serving import Peer, run
from tests.lambda_api.serving import UNKNOWN_ARN, lambda_serving

INVOKE = "/2015-03-31/functions/f/invocations"
HEARTBEAT = "/2025-12-01/durable-execution-callbacks/x/heartbeat"


def test_invocations_are_refused_with_429_then_callbacks_and_never_checkpoints() -> None:
    overload = Overload(ServerMetrics())

    def make_api(readiness: Readiness) -> LambdaApi:
        return LambdaApi(readiness, overload=overload)

    def fall_behind(delay_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        overload.gate.measured(delay_s, now_s - 10.0)
        overload.gate.measured(delay_s, now_s)

    async def main() -> None:
        async with lambda_serving(make_api=make_api) as api:
            await Peer.connect(api.served)
            fall_behind(0.6)
            for kind in ("RequestResponse", "Event"):
                refused = await api.http.post(
                    INVOKE, content=b"{}", headers={"x-amz-invocation-type": kind}
                )
                assert refused.status_code == 429
                assert refused.headers["x-amzn-errortype"] == "TooManyRequestsException"
                assert int(refused.headers["retry-after"]) >= 1
            assert (await api.http.post(HEARTBEAT)).status_code == 400
            fall_behind(3.0)
            assert (await api.http.post(HEARTBEAT)).status_code == 429
            checkpoint = {"CheckpointToken": "x"}
            status, code, _ = await api.failure(
                "checkpoint_durable_execution", DurableExecutionArn=UNKNOWN_ARN, **checkpoint
            )
            assert (status, code) == (400, "InvalidParameterValueException")

    run(main)
