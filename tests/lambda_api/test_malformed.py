"""Requests that no client would send: made from the service model, then bent by seeded dice."""

import json
import random
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from perdure_gateway.gate import Gate
from perdure_gateway.lambda_api.application import LambdaApi
from perdure_gateway.lambda_api.invoke import Invoker
from tests.gateway.serving import run
from tests.lambda_api.serving import LambdaServed, lambda_serving, worker

REQUESTS = 1_000
OTHERS = ("Invoke", "ListFunctions", "GetFunction", "GetFunctionConfiguration")
TEXTS = [
    *("", "f", "a", "\0", "é", "😀", "%00", "/", "//", "a/b", "-1", "0", "1e9", "9" * 30, "true"),
    *("null", "[]", "{}", '{"a": 1}', "$LATEST", "x" * 300, "x" * 5_000, "RUNNING"),
    *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
]
NUMBERS = [0, 1, 5, -1, 31_622_400, 31_622_401, 2**31, 2**63, 2**200]
MISFITS: list[Any] = [None, 1, -1, 2**64, 1.5, True, [], {}, "x" * 40, "\0", "é", [[]], {"a": {}}]


class Dice:
    """Makes requests for one execution."""

    def __init__(self, seed: int, api: LambdaServed, arn: str, token: str) -> None:
        self._dice = random.Random(seed)
        self._places = {
            "DurableExecutionArn": arn,
            "FunctionName": "f",
            "CallbackId": "AAAA",
            "CheckpointToken": token,
        }
        self._model = api.client.meta.service_model
        self._operations = [
            name for name in self._model.operation_names if "Durable" in name or name in OTHERS
        ]

    def request(self) -> tuple[str, str, dict[str, Any]]:
        """Return method, path and the rest of a request."""
        operation = self._model.operation_model(self._dice.choice(self._operations))
        path: str = operation.http["requestUri"]
        query: list[tuple[str, str]] = []
        headers: dict[str, bytes] = {}
        fields: dict[str, Any] = {}
        for key, shape in operation.input_shape.members.items():
            where, value = shape.serialization.get("location"), self._value(key, shape)
            if where == "uri":
                path = path.replace(f"{{{key}}}", quote(str(value), safe=""))
            elif where == "querystring" and self._happens(0.5):
                query += [(key, str(each)) for each in listed(value)]
            elif where == "header" and self._happens(0.3):
                # What cannot stand in a header would not reach a server.
                text = str(value).replace("\0", "").strip()[:500]
                headers[shape.serialization["name"]] = text.encode()
            elif where is None:
                fields[key] = value
        payload = operation.input_shape.serialization.get("payload")
        body = json.dumps(fields.get(payload) if payload else fields).encode()
        method = operation.http["method"] if self._happens(0.95) else "PUT"
        return method, path, {"params": query, "headers": headers, "content": self._bent(body)}

    def _bent(self, body: bytes) -> bytes:
        if not self._happens(0.1):
            return body
        at = self._dice.randrange(len(body))
        return body[:at] + bytes([self._dice.randrange(256)]) + body[at + 1 :]

    def _value(self, key: str, shape: Any) -> Any:
        if key in self._places and self._happens(0.8):
            return self._places[key]
        if self._happens(0.1):
            return self._dice.choice(MISFITS)
        match shape.type_name:
            case "structure":
                return {
                    name: self._value(name, member)
                    for name, member in shape.members.items()
                    if self._happens(0.6)
                }
            case "list":
                count = self._dice.randrange(4)
                return [self._value("", shape.member) for _ in range(count)]
            case "boolean":
                return self._happens(0.5)
            case "integer" | "long":
                return self._dice.choice(NUMBERS)
            case _:
                return self._dice.choice(getattr(shape, "enum", None) or TEXTS)

    def _happens(self, share: float) -> bool:
        return self._dice.random() < share


def listed(value: Any) -> list[Any]:
    return value if hasattr(value, "append") else [value]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_request_has_an_answer_of_the_model(seed: int) -> None:
    def impatient(gate: Gate) -> LambdaApi:
        return LambdaApi(gate, Invoker(wait_ms=1))

    async def main() -> None:
        async with lambda_serving(make_api=impatient) as api:
            peer = await worker(api, slots=1)
            arn = await api.started()
            dice = Dice(seed, api, arn, (await peer.invocation()).checkpoint_token)
            codes = [await code_of(api.http, *dice.request()) for _ in range(REQUESTS)]
            assert {"", "InvalidParameterValueException", "ResourceNotFoundException"} <= {*codes}
            assert (await api.http.get("/2015-03-31/functions")).status_code == 200

    run(main)


async def code_of(http: httpx.AsyncClient, method: str, path: str, more: dict[str, Any]) -> str:
    """Return the code of a failure; "" when the request was taken."""
    answer = await http.request(method, path, **more)
    assert answer.status_code < 500, (method, path, more, answer.text)
    if answer.status_code < 300:
        return ""
    return answer.headers["x-amzn-errortype"]
