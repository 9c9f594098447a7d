"""Access keys: clients of AWS sign with them, and each key has its rights."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from starlette.responses import Response

from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.lambda_api.application import LambdaApi, operations
from perdure_gateway.lambda_api.authentication import Authenticator
from perdure_gateway.lambda_api.invoke import Invoker
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_host.access.bearer_tokens import Tokens, read_tokens
from perdure_host.access_keys import ACTIONS, AccessKey, AccessKeys
from perdure_host.ports import FunctionRow
from tests.gateway.serving import run
from tests.lambda_api.serving import UNKNOWN_ARN, LambdaServed, boto_client, lambda_serving, worker
from tests.system.processes import Machine

SECRET = "0123456789abcdef/+="
HEARTBEAT = "/2025-12-01/durable-execution-callbacks/AAAA/heartbeat"
DENIED = (403, "AccessDeniedException")


def key(key_id: str, *actions: str, **more: Any) -> AccessKey:
    return AccessKey(id=key_id, secret=SECRET, actions=actions, **more)


ALL = key("ALL0", "lambda:*")


@asynccontextmanager
async def guarded(*keys: AccessKey, tokens: Tokens | None = None) -> AsyncGenerator[LambdaServed]:
    """Serve with these keys, and one with all rights, which the client signs with."""

    def make_api(readiness: Readiness) -> LambdaApi:
        authenticator = Authenticator(AccessKeys((ALL, *keys)), tokens=tokens is not None)
        return LambdaApi(readiness, Invoker(wait_ms=1), authenticator)

    async with lambda_serving(make_api=make_api, tokens=tokens) as api:
        with signing(api, ALL.id):
            yield api


@contextmanager
def signing(api: LambdaServed, key_id: str, secret: str = SECRET) -> Generator[None]:
    """Sign calls with this key."""
    before = api.client
    api.client = boto_client(api.url, key=key_id, secret=secret)
    yield
    api.client.close()
    api.client = before


async def asking(api: LambdaServed) -> tuple[str, str, str]:
    """Return the ARN, the token and the callback id of an invocation that started a callback."""
    peer = await worker(api)
    await api.started()
    invocation = await peer.invocation()
    answer = await api.call(
        "checkpoint_durable_execution",
        DurableExecutionArn=invocation.execution_arn,
        CheckpointToken=invocation.checkpoint_token,
        Updates=[{"Id": "cb", "Type": "CALLBACK", "Action": "START"}],
    )
    (operation,) = answer["NewExecutionState"]["Operations"]
    callback_id = operation["CallbackDetails"]["CallbackId"]
    return invocation.execution_arn, answer["CheckpointToken"], callback_id


def calls(arn: str, token: str, callback_id: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return a call of every operation, by its action: boto3's method, and arguments."""
    execution = {"DurableExecutionArn": arn}
    callback = {"CallbackId": callback_id}
    with_token = {**execution, "CheckpointToken": token}
    function = {"FunctionName": "f"}
    step = {"Id": "s", "Type": "STEP", "Action": "START"}
    listing = {"Statuses": ["RUNNING", "FAILED"], "StartedAfter": "2026-01-01T00:00:00Z"}
    return {
        "GetDurableExecutionState": ("get_durable_execution_state", with_token),
        "CheckpointDurableExecution": (
            "checkpoint_durable_execution",
            {**with_token, "Updates": [step]},
        ),
        "GetDurableExecution": ("get_durable_execution", execution),
        "GetDurableExecutionHistory": ("get_durable_execution_history", execution),
        "SendDurableExecutionCallbackHeartbeat": (
            "send_durable_execution_callback_heartbeat",
            callback,
        ),
        "SendDurableExecutionCallbackSuccess": (
            "send_durable_execution_callback_success",
            {**callback, "Result": b"\xc3\xa4"},
        ),
        "SendDurableExecutionCallbackFailure": (
            "send_durable_execution_callback_failure",
            {**callback, "Error": {"ErrorType": "T"}},
        ),
        "PauseDurableExecution": ("pause_durable_execution", {**execution, "Reason": "ä b"}),
        "ResumeDurableExecution": ("resume_durable_execution", execution),
        "StopDurableExecution": ("stop_durable_execution", execution),
        "DeleteDurableExecution": ("delete_durable_execution", execution),
        "InvokeFunction": ("invoke", {**function, "Payload": b"1", "DurableExecutionName": "n"}),
        "GetFunction": ("get_function", {**function, "Qualifier": "$LATEST"}),
        "GetFunctionConfiguration": ("get_function_configuration", function),
        "ListFunctions": ("list_functions", {"MaxItems": 5}),
        "ListDurableExecutionsByFunction": (
            "list_durable_executions_by_function",
            {**function, **listing},
        ),
    }


def test_every_operation_has_an_action_that_keys_may_name() -> None:
    async def nothing(_request: LambdaRequest) -> Response:
        return Response()

    named = {operation.action for operation in operations(nothing)}
    assert named == {*ACTIONS}
    assert {f"lambda:{action}" for action in calls("", "", "")} == named


def test_boto3_signs_every_operation_so_that_it_is_served() -> None:
    async def main() -> None:
        async with guarded() as api:
            operation_calls = calls(*await asking(api))
            method, arguments = operation_calls.pop("SendDurableExecutionCallbackFailure")
            for each, arguments_given in operation_calls.values():
                answer = await api.call(each, **arguments_given)
                assert answer["ResponseMetadata"]["HTTPStatusCode"] < 300
            refused = await api.failure(method, **arguments)
            assert refused[1] == "CallbackTimeoutException"

    run(main)


def test_each_operation_is_denied_without_its_action() -> None:
    others = {
        action: key(
            action.removesuffix("DurableExecution"),
            *(each for each in ACTIONS if each != f"lambda:{action}"),
        )
        for action in calls("", "", "")
    }

    async def main() -> None:
        async with guarded(*others.values()) as api:
            arn, token, callback_id = await asking(api)
            for action, (method, arguments) in calls(arn, token, callback_id).items():
                with signing(api, others[action].id):
                    refused = await api.failure(method, **arguments)
                assert refused[:2] == DENIED
                assert f"not authorized to perform: lambda:{action} on resource: " in refused[2]
            execution = await api.call("get_durable_execution", DurableExecutionArn=arn)
            assert execution["Status"] == "RUNNING"

    run(main)


def test_resources_bound_what_a_key_may_touch() -> None:
    async def main() -> None:
        own = key("OWN0", "*", resources=("f",))
        qualified = key("LATEST", "*", resources=("arn:*:function:f:$LATEST*",))
        other = key("OTHER", "*", resources=("g", "arn:*:function:g:*"))
        async with guarded(own, qualified, other) as api:
            arn, token, callback_id = await asking(api)
            for method, arguments in calls(arn, token, callback_id).values():
                with signing(api, other.id):
                    assert (await api.failure(method, **arguments))[:2] == DENIED
            with signing(api, own.id):
                await api.call("get_durable_execution", DurableExecutionArn=arn)
                await api.call("send_durable_execution_callback_heartbeat", CallbackId=callback_id)
                assert (await api.failure("list_functions"))[:2] == DENIED
            with signing(api, qualified.id):
                await api.call("get_durable_execution", DurableExecutionArn=arn)
                await api.call("get_function", FunctionName="f", Qualifier="$LATEST")
                assert (await api.failure("get_function", FunctionName="f"))[:2] == DENIED

    run(main)


def test_an_execution_is_not_reached_by_the_name_of_another_function() -> None:
    async def main() -> None:
        other = key("OTHER", "*", resources=("g",))
        async with guarded(other) as api:
            arn, token, _ = await asking(api)
            forged = {"DurableExecutionArn": arn.replace(":function:f:", ":function:g:")}
            with signing(api, other.id):
                refused = await api.failure("stop_durable_execution", **forged)
                assert refused[:2] == (404, "ResourceNotFoundException")
                for method in ("checkpoint_durable_execution", "get_durable_execution_state"):
                    refused = await api.failure(method, **forged, CheckpointToken=token)
                    assert refused[:2] == (404, "ResourceNotFoundException")

    run(main)


def test_a_handler_may_chain_only_what_its_key_may_invoke() -> None:
    async def main() -> None:
        runner = key("RUNNER", "*", resources=("f",))
        async with guarded(runner) as api:
            arn, token, _ = await asking(api)
            update = {"Id": "i", "Type": "CHAINED_INVOKE", "Action": "START", "Payload": "1"}
            for function, is_allowed in (("g", False), ("f", True)):
                asked = {
                    "DurableExecutionArn": arn,
                    "CheckpointToken": token,
                    "Updates": [{**update, "ChainedInvokeOptions": {"FunctionName": function}}],
                }
                with signing(api, runner.id):
                    if is_allowed:
                        await api.call("checkpoint_durable_execution", **asked)
                        continue
                    refused = await api.failure("checkpoint_durable_execution", **asked)
                assert refused[:2] == DENIED
                assert "lambda:InvokeFunction on resource: arn:perdure:lambda:" in refused[2]

    run(main)


def test_a_key_sees_its_own_namespace_alone() -> None:
    async def main() -> None:
        stranger = key("STRANGER", "*", namespace="other")
        async with guarded(stranger) as api:
            arn, *_ = await asking(api)
            other = FunctionRow(
                namespace="other", name="g", execution_timeout_s=60, retention_days=1, durable=True
            )
            await api.served.history.invocations.register_functions([other])
            with signing(api, stranger.id):
                listed = await api.call("list_functions")
                assert [each["FunctionName"] for each in listed["Functions"]] == ["g"]
                started = await api.call("invoke", FunctionName="g", InvocationType="Event")
                assert started["DurableExecutionArn"].startswith("arn:perdure:lambda:other:")
                page = await api.call("list_durable_executions_by_function", FunctionName="g")
                assert len(page["DurableExecutions"]) == 1
                for name in ("f", "arn:perdure:lambda:default:000000000000:function:f"):
                    refused = await api.failure("invoke", FunctionName=name)
                    assert refused[0] in {403, 404}
                refused = await api.failure("get_durable_execution", DurableExecutionArn=arn)
                assert refused[:2] == DENIED

    run(main)


@pytest.mark.parametrize(
    ("key_id", "secret", "code"),
    [
        ("NOBODY", SECRET, "UnrecognizedClientException"),
        ("ALL0", SECRET + "x", "InvalidSignatureException"),
    ],
)
def test_keys_and_secrets_that_are_not_ours_are_refused(
    key_id: str, secret: str, code: str
) -> None:
    async def main() -> None:
        async with guarded() as api:
            with signing(api, key_id, secret):
                refused = await api.failure("list_functions")
            assert refused[:2] == (403, code)
            assert SECRET not in refused[2]

    run(main)


def test_requests_without_a_signature_are_refused() -> None:
    async def main() -> None:
        async with guarded() as api:
            answer = await api.http.post(HEARTBEAT)
            assert answer.status_code == 403
            assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
            presigned = await api.http.post(f"{HEARTBEAT}?X-Amz-Signature=0")
            assert presigned.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
            assert "presigned URL" in presigned.text
            answer = await api.http.post(HEARTBEAT, headers={"authorization": "Bearer secret"})
            assert answer.status_code == 403
            assert answer.headers["x-amzn-errortype"] == "IncompleteSignatureException"

    run(main)


def test_temporary_credentials_are_not_known() -> None:
    async def main() -> None:
        async with guarded() as api:
            signer: Any = api.client._request_signer
            signer._credentials.token = "session"
            refused = await api.failure("list_functions")
            assert refused[:2] == (403, "UnrecognizedClientException")

    run(main)


def test_tokens_and_keys_authenticate_side_by_side() -> None:
    async def main() -> None:
        async with guarded(tokens=Tokens(["open-sesame"])) as api:
            assert (await api.call("list_functions"))["Functions"] == []
            bearer = {"authorization": "Bearer open-sesame"}
            answer = await api.http.get("/2015-03-31/functions", headers=bearer)
            assert answer.status_code == 200
            for headers in ({}, {"authorization": "Bearer open-barley"}):
                answer = await api.http.get("/2015-03-31/functions", headers=headers)
                assert answer.status_code == 403
            signed = {"authorization": "AWS4-HMAC-SHA256 Credential=ALL0/x"}
            assert (await api.http.get("/metrics", headers=signed)).status_code == 401
            answer = await api.http.get("/2015-03-31/functions", headers=signed)
            assert answer.headers["x-amzn-errortype"] == "IncompleteSignatureException"

    run(main)


def test_a_signed_body_is_bounded_like_any_other() -> None:
    async def main() -> None:
        async with guarded() as api:
            large = {"FunctionName": "f", "Payload": b" " * 6_291_457}
            refused = await api.failure("invoke", **large)
            assert refused[:2] == (413, "RequestTooLargeException")

    run(main)


def test_a_server_reads_its_access_keys_from_a_file(tmp_path: Path) -> None:
    key_file = tmp_path / "keys.toml"
    key_file.write_text(
        f'[[key]]\nid = "READER"\nsecret = "{SECRET}"\nactions = ["lambda:List*"]\n'
    )
    key_file.chmod(0o600)
    with Machine(tmp_path) as machine:
        server = machine.start_server("--access-key-file", str(key_file))
        client = boto_client(f"http://{machine.http_address}", key="READER", secret=SECRET)
        assert client.list_functions()["Functions"] == []
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            client.get_durable_execution(DurableExecutionArn=UNKNOWN_ARN)
        client.close()
        key_file.chmod(0o644)
        again = machine.start("other", "server", "--access-key-file", str(key_file))
        assert machine.wait_for_exit("other") == 2
        assert "chmod 600" in again.log_text()
        assert SECRET not in server.log_text() + again.log_text()


def test_a_signature_of_a_hosted_handler_is_of_its_whole_path() -> None:
    async def main() -> None:
        async with guarded() as api:
            prefixed = boto_client(f"{api.url}/.process/{'A' * 43}", key=ALL.id, secret=SECRET)
            answer = await asyncio.to_thread(prefixed.list_functions)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
            wrong = boto_client(f"{api.url}/.process/{'A' * 43}", key=ALL.id, secret="x" * 16)
            with pytest.raises(ClientError, match="InvalidSignatureException"):
                await asyncio.to_thread(wrong.list_functions)
            for client in (prefixed, wrong):
                await asyncio.to_thread(client.close)

    run(main)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("worker", {"CheckpointDurableExecution", "GetDurableExecutionState"}),
        ("client", None),
        ("operator", None),
        ("node", set[str]()),
    ],
)
def test_a_token_makes_the_calls_of_its_role(
    tmp_path: Path, role: str, allowed: set[str] | None
) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"it {role} secret\n")
    headers = {"authorization": "Bearer secret"}
    of_workers = {"CheckpointDurableExecution", "GetDurableExecutionState"}

    async def main() -> None:
        async with guarded(tokens=read_tokens(str(path))) as api:
            denied: set[str] = set()
            for operation in operations(Invoker().invoke):
                target = operation.path.replace("{arn:path}", quote(UNKNOWN_ARN, safe=""))
                target = target.replace("{function}", "f").replace("{callback:path}", "AAAA")
                answer = await api.http.request(operation.method, target, headers=headers)
                if answer.headers.get("x-amzn-errortype") == "AccessDeniedException":
                    denied.add(operation.action.removeprefix("lambda:"))
            names = {each.action.removeprefix("lambda:") for each in operations(Invoker().invoke)}
            assert denied == (of_workers if allowed is None else names - allowed)

    run(main)


@pytest.mark.parametrize(
    ("key_id", "secret", "code"),
    [
        ("NOSUCHKEY", SECRET, "UnrecognizedClientException"),
        ("READER", SECRET, "AccessDeniedException"),
        ("ALL0", "x" * 16, "InvalidSignatureException"),
    ],
)
def test_who_may_not_send_a_body_is_refused_before_it_comes(
    key_id: str, secret: str, code: str
) -> None:
    async def main() -> None:
        async with guarded(key("READER", "lambda:Get*")) as api:
            url = f"{api.url}/2015-03-31/functions/f/invocations"
            headers = {"x-amz-content-sha256": sha256(b"x" * 1_000).hexdigest()}
            asked = AWSRequest(method="POST", url=url, headers=headers, data=b"x" * 1_000)
            signer: Any = SigV4Auth(Credentials(key_id, secret), "lambda", "eu-west-1")
            signer.add_auth(asked)
            signed: dict[str, str] = dict(cast("Any", asked.headers))
            host = api.url.removeprefix("http://")
            head = [f"{name}: {value}" for name, value in {"host": host, **signed}.items()]
            lines = [
                "POST /2015-03-31/functions/f/invocations HTTP/1.1",
                *head,
                "content-length: 1000",
            ]
            reader, writer = await asyncio.open_connection(*host.split(":"))
            writer.write("\r\n".join([*lines, "", ""]).encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            assert code.encode() in answer
            writer.close()

    run(main)
