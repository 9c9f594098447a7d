"""The Lambda API of a gateway on a real port, and boto3 to call it with."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError

from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.http_server import WebServer, web_application
from perdure_gateway.lambda_api.application import LambdaApi
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.listen import Address
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock, Store
from tests.gateway.serving import Peer, Served, registration, serving, start_request
from tests.lambda_api.modelled import hold_to_model

LOOPBACK = Address("127.0.0.1", 0)
UNKNOWN_ARN = (
    "arn:perdure:lambda:default:000000000000:function:f:$LATEST/durable-execution/nobody/"
    + 32 * "0"
)


class LambdaServed:
    """A gateway with its Lambda API, a client of AWS for it, and one that knows only HTTP."""

    def __init__(self, served: Served, url: str, api: LambdaApi, readiness: Readiness) -> None:
        self.served = served
        self.url = url
        self.api = api
        self.readiness = readiness
        self.client = boto_client(url)
        self.http = httpx.AsyncClient(base_url=url)

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call boto3 in a thread."""
        return await asyncio.to_thread(getattr(self.client, operation), **arguments)

    async def pages(self, operation: str, **arguments: Any) -> list[dict[str, Any]]:
        """Return the pages of one of boto3's paginators."""
        walk = self.client.get_paginator(operation).paginate
        pages: list[dict[str, Any]] = await asyncio.to_thread(lambda: [*walk(**arguments)])
        return pages

    async def failure(self, operation: str, **arguments: Any) -> tuple[int, str, str]:
        """Return the status, code and message of a call that must fail."""
        try:
            answer = await self.call(operation, **arguments)
        except ClientError as error:
            response: Any = error.response
            status: int = response["ResponseMetadata"]["HTTPStatusCode"]
            return status, response["Error"]["Code"], response["Error"]["Message"]
        raise AssertionError(f"the call went well: {answer}")

    async def started(self, **more: Any) -> str:
        """Start an execution of the function `f`; return its ARN."""
        answer = await self.served.executions.StartExecution(start_request(**more))
        return answer.execution_arn


def boto_client(url: str, *, key: str = "anybody", secret: str = "anything", **config: Any) -> Any:
    """Return a client that never retries, and checks every answer against the model."""
    client = cast("Any", boto3).client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20, **config),
    )
    hold_to_model(client)
    return client


@asynccontextmanager
async def lambda_serving(
    *,
    clock: Clock | None = None,
    store: Store | None = None,
    tokens: Tokens | None = None,
    make_api: Callable[[Readiness], LambdaApi] = LambdaApi,
) -> AsyncGenerator[LambdaServed]:
    """Serve the Lambda API over a store in memory."""
    async with serving(clock=clock, store=store) as served:
        readiness = Readiness()
        readiness.set_status(NodeStatus.SERVING)
        api = make_api(readiness)
        api.open(served.history)
        web = WebServer(web_application(readiness, ServerMetrics(), tokens, api), LOOPBACK, None)
        lambda_served = LambdaServed(served, f"http://{web.start()}", api, readiness)
        try:
            yield lambda_served
        finally:
            readiness.set_status(NodeStatus.DRAINING)
            await lambda_served.http.aclose()
            await asyncio.to_thread(lambda_served.client.close)
            await web.stop()


async def worker(served: LambdaServed, *, slots: int = 4) -> Peer:
    """Return a worker that serves the function `f` with free slots."""
    return await Peer.connect(served.served, registration(slots=max(slots, 1)), credit=slots)
