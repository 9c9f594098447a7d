"""Malformed requests: made from the service model, then changed by seeded dice.

Many more of them for a node that is a process of its own, most of them signed:

    make fuzz
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as AwsCredentials

from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.lambda_api.application import LambdaApi
from perdure_gateway.lambda_api.invoke import Invoker
from tests.gateway.serving import run
from tests.lambda_api.serving import boto_client, lambda_serving, worker
from tests.system.processes import ROOT, Machine, wait_until

REQUESTS = 1_000
REAL_REQUESTS = int(os.environ.get("PERDURE_BENT_REQUESTS", "1000"))
# They are soon stopped, or complete.
RENEWED_EACH = 500
SECRET = "0123456789abcdef"
PROGRAMS = ROOT / "tests" / "system" / "programs.py"
FORGED = "InvalidSignatureException"
# What each operation of AWS may answer, whatever its model says.
UNSIGNED_CODES = {"", "UnknownOperationException", "AccessDeniedException"}
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

    def __init__(self, seed: int, client: Any, **places: str) -> None:
        self._dice = random.Random(seed)
        # What a request needs to be let in, by names of the model.
        self.places = {"FunctionName": "f", "CallbackId": "AAAA", **places}
        self._model = client.meta.service_model
        self._operations = [
            name for name in self._model.operation_names if "Durable" in name or name in OTHERS
        ]

    @property
    def codes(self) -> set[str]:
        """Every code that the model has for one of the operations."""
        models = [self._model.operation_model(name) for name in self._operations]
        return {shape.name for model in models for shape in model.error_shapes}

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
        path += "?" + "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in query)
        return method, path, {"headers": headers, "content": self._bent(body)}

    def _bent(self, body: bytes) -> bytes:
        if not self._happens(0.1):
            return body
        at = self._dice.randrange(len(body))
        return body[:at] + bytes([self._dice.randrange(256)]) + body[at + 1 :]

    def _value(self, key: str, shape: Any) -> Any:
        if key in self.places and self._happens(0.8):
            return self.places[key]
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
    def impatient(readiness: Readiness) -> LambdaApi:
        return LambdaApi(readiness, Invoker(wait_ms=1))

    async def main() -> None:
        async with lambda_serving(make_api=impatient) as api:
            peer = await worker(api, slots=1)
            arn = await api.started()
            token = (await peer.invocation()).checkpoint_token
            dice = Dice(seed, api.client, DurableExecutionArn=arn, CheckpointToken=token)
            codes = {await code_of(api.http, *dice.request()) for _ in range(REQUESTS)}
            assert codes >= {"", "InvalidParameterValueException", "ResourceNotFoundException"}
            assert codes <= dice.codes | UNSIGNED_CODES
            assert (await api.http.get("/2015-03-31/functions")).status_code == 200

    run(main)


async def code_of(http: httpx.AsyncClient, method: str, path: str, more: dict[str, Any]) -> str:
    """Return the code of a failure; "" when the request was taken."""
    answer = await http.request(method, path, **more)
    return code_in(answer, method, path, more)


def code_in(answer: httpx.Response, *request: Any) -> str:
    assert answer.status_code < 500, (request, answer.text)
    if answer.status_code < 300:
        return ""
    return answer.headers["x-amzn-errortype"]


class Stranger:
    """Sends bent requests to a node that checks signatures."""

    def __init__(self, machine: Machine, seed: int) -> None:
        self.client = boto_client(f"http://{machine.http_address}", key="ORDERS", secret=SECRET)
        self.dice = Dice(seed, self.client, FunctionName="nothing")
        self._http = httpx.Client(base_url=f"http://{machine.http_address}", timeout=60)
        self._signer: Any = SigV4Auth(AwsCredentials("ORDERS", SECRET), "lambda", "eu-west-1")

    def close(self) -> None:
        self._http.close()
        self.client.close()

    def renew(self) -> str:
        """Start another execution for the requests; return its ARN."""
        began = self.client.invoke(FunctionName="asking", InvocationType="Event")
        arn: str = began["DurableExecutionArn"]
        page: dict[str, Any] = {}

        def is_asked() -> bool:
            page.update(self.client.get_durable_execution_history(DurableExecutionArn=arn))
            return any(each["EventType"] == "CallbackStarted" for each in page["Events"])

        wait_until(is_asked, "the handler asks")
        asked = next(each for each in page["Events"] if each["EventType"] == "CallbackStarted")
        callback_id = asked["CallbackStartedDetails"]["CallbackId"]
        self.dice.places |= {"DurableExecutionArn": arn, "CallbackId": callback_id}
        return arn

    def send(self, *, signed: bool) -> str:
        """Send one request; return the code of a failure, or "" when it was taken."""
        method, path, more = self.dice.request()
        request = self._http.build_request(method, path, **more)
        if signed:
            self._sign(request)
        code = code_in(self._http.send(request), method, path, more)
        # botocore tidies such a path before it signs, but not before it sends.
        assert code != FORGED or "//" in path, (method, path, more)
        return code

    def seen(self, arn: str) -> tuple[Any, Any]:
        """Return everything that is visible of an execution."""
        execution = self.client.get_durable_execution(DurableExecutionArn=arn)
        events = self.client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        execution.pop("ResponseMetadata")
        return execution, events

    def _sign(self, request: httpx.Request) -> None:
        named = {name: value for name, value in request.headers.items() if name[:6] == "x-amz-"}
        plain = AWSRequest(
            method=request.method, url=str(request.url), headers=named, data=request.content
        )
        self._signer.add_auth(plain)
        headers: Any = plain.headers
        for name in ("Authorization", "X-Amz-Date"):
            request.headers[name] = headers[name]


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    """Return a sender of bent requests to a node in its own process."""
    key_file = tmp_path / "keys.toml"
    key_file.write_text(f'[[key]]\nid = "ORDERS"\nsecret = "{SECRET}"\nactions = ["*"]\n')
    key_file.chmod(0o600)
    with Machine(tmp_path) as machine:
        machine.start_server("--access-key-file", str(key_file))
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("asking")
        playing = Stranger(machine, seed=REAL_REQUESTS)
        yield playing
        playing.close()
        machine.check()


def test_a_real_node_answers_whatever_comes_and_leaves_alone_who_was_not_meant(
    stranger: Stranger, record_property: Callable[[str, object], None]
) -> None:
    bystander = stranger.renew()
    stranger.renew()
    before = stranger.seen(bystander)
    codes = Counter[str]()
    for number in range(1, REAL_REQUESTS + 1):
        if number % RENEWED_EACH == 0:
            stranger.renew()
        codes[stranger.send(signed=True)] += 1
    assert {*codes} <= stranger.dice.codes | UNSIGNED_CODES | {FORGED}
    assert {"", "InvalidParameterValueException", "ResourceNotFoundException"} <= {*codes}
    assert stranger.seen(bystander) == before
    counts = ", ".join(f"{count:,} {code or 'taken'}" for code, count in codes.most_common())
    record_property("figures", f"{REAL_REQUESTS:,} signed requests: {counts}")


def test_a_real_node_changes_nothing_for_unsigned_requests(
    stranger: Stranger, record_property: Callable[[str, object], None]
) -> None:
    target = stranger.renew()
    before = stranger.seen(target)
    count = REAL_REQUESTS // 4
    codes = Counter(stranger.send(signed=False) for _ in range(count))
    assert {*codes} == {"MissingAuthenticationTokenException", "UnknownOperationException"}
    assert stranger.seen(target) == before
    counts = ", ".join(f"{count:,} {code}" for code, count in codes.most_common())
    record_property("figures", f"{count:,} unsigned requests: {counts}")
