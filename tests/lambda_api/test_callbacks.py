"""Callbacks, completed by clients of AWS."""

import struct
from base64 import b64encode
from hashlib import blake2b
from urllib.parse import parse_qs, urlsplit

import pytest

from perdure_host.memory_store import MemoryStore
from perdure_host.ports import ExecutionKey
from perdure_host.services import key_of
from tests.gateway.serving import run
from tests.lambda_api.calls import open_callback
from tests.lambda_api.serving import lambda_serving, worker

UNKNOWN_CALLBACK = "AAAA+/AA"


def test_a_result_arrives_as_the_bytes_that_were_sent() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            _, callback_id = await open_callback(api, peer)
            result = '{"approved": "ja – natürlich"}'
            await api.call(
                "send_durable_execution_callback_success",
                CallbackId=callback_id,
                Result=result.encode(),
            )
            details = (await peer.invocation()).operations[1].callback_details
            assert details.result == result

    run(main)


def test_an_error_arrives_with_all_its_fields() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            _, callback_id = await open_callback(api, peer)
            error = {
                "ErrorMessage": "no",
                "ErrorType": "Rejected",
                "ErrorData": "{}",
                "StackTrace": ["here", "there"],
            }
            await api.call(
                "send_durable_execution_callback_failure", CallbackId=callback_id, Error=error
            )
            failed = (await peer.invocation()).operations[1].callback_details.error
            assert (failed.error_message, failed.error_type, failed.error_data) == (
                "no",
                "Rejected",
                "{}",
            )
            assert list(failed.stack_trace) == ["here", "there"]

    run(main)


def test_a_callback_may_be_completed_with_nothing() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            for operation in ("success", "failure"):
                _, callback_id = await open_callback(api, peer)
                name = f"send_durable_execution_callback_{operation}"
                await api.call(name, CallbackId=callback_id)
                details = (await peer.invocation()).operations[1].callback_details
                assert not details.HasField("result")
                assert not details.error.error_message

    run(main)


def test_an_id_stands_in_the_path_and_in_the_query_of_a_url_as_it_is() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api, slots=16)
            for _ in range(16):
                _, callback_id = await open_callback(api, peer)
                link = urlsplit(
                    f"https://shop.example/approve/{callback_id}?callback={callback_id}"
                )
                assert link.path == f"/approve/{callback_id}"
                assert parse_qs(link.query) == {"callback": [callback_id]}
                path = f"/2025-12-01/durable-execution-callbacks/{callback_id}/heartbeat"
                assert (await api.http.post(path)).status_code == 200

    run(main)


def test_ids_of_an_earlier_release_survive_percent_encoding() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with lambda_serving(store=store) as api:
            peer = await worker(api, slots=16)
            secret = await store.secret()
            # Enough of them that some hold a slash or a plus sign; all end with an equals sign.
            arns = [(await open_callback(api, peer))[0] for _ in range(8)]
            ids = [earlier_callback_id(secret, key_of(arn), "c") for arn in arns]
            assert any("/" in each or "+" in each for each in ids)
            for each in ids:
                await api.call("send_durable_execution_callback_heartbeat", CallbackId=each)

    run(main)


def earlier_callback_id(secret: bytes, key: ExecutionKey, operation_id: str) -> str:
    """Return the id of a callback as earlier releases wrote it."""
    head = struct.pack(">BH16s", 1, key.bucket, bytes.fromhex(key.execution_id))
    content = head + operation_id.encode()
    mac = blake2b(content, key=secret, digest_size=15, person=b"perdure-callback")
    return b64encode(content + mac.digest()).decode()


@pytest.mark.parametrize("operation", ["success", "failure", "heartbeat"])
def test_a_closed_callback_and_an_unknown_one_have_codes_of_their_own(operation: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            _, callback_id = await open_callback(api, peer)
            await api.call("send_durable_execution_callback_success", CallbackId=callback_id)
            name = f"send_durable_execution_callback_{operation}"
            closed = await api.failure(name, CallbackId=callback_id)
            # With an equal outcome too: so does AWS.
            assert closed[:2] == (400, "CallbackTimeoutException")
            assert "is already SUCCEEDED" in closed[2]
            unknown = await api.failure(name, CallbackId=UNKNOWN_CALLBACK)
            assert unknown[:2] == (400, "InvalidParameterValueException")
            assert "Invalid callback id" in unknown[2]

    run(main)


def test_a_callback_of_a_stopped_execution_is_closed() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            arn, callback_id = await open_callback(api, await worker(api))
            await api.call("stop_durable_execution", DurableExecutionArn=arn)
            closed = await api.failure(
                "send_durable_execution_callback_success", CallbackId=callback_id
            )
            assert closed[:2] == (400, "CallbackTimeoutException")

    run(main)


def test_bodies_that_cannot_be_taken_are_refused_and_change_nothing() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            _, callback_id = await open_callback(api, peer)
            name = "send_durable_execution_callback_success"
            large = await api.failure(name, CallbackId=callback_id, Result=b"x" * (2**20 + 1))
            assert large[:2] == (413, "RequestTooLargeException")
            binary = await api.failure(name, CallbackId=callback_id, Result=b"\xff\xfe")
            assert binary[:2] == (400, "InvalidParameterValueException")
            name = "send_durable_execution_callback_failure"
            error = {"ErrorMessage": "x" * 1_048_577}
            large = await api.failure(name, CallbackId=callback_id, Error=error)
            assert large[:2] == (400, "InvalidParameterValueException")
            await api.call(
                "send_durable_execution_callback_success",
                CallbackId=callback_id,
                Result=b"x" * 2**20,
            )
            operation = (await peer.invocation()).operations[1]
            assert len(operation.callback_details.result) == 2**20

    run(main)
