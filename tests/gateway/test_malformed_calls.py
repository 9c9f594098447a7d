"""Hostile callers of a node in a process of its own: over gRPC, and with bent bytes over HTTP.

Many more of them, of the Lambda API too:

    make fuzz
"""

import asyncio
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from perdure_host.channel import ConnectionSettings, open_aio_channel
from perdure_proto.v1 import client_pb2, client_pb2_grpc
from tests.gateway.hostile_calls import AT_ONCE, REFUSAL_S_MAX, Dice, Targets, hail
from tests.system.processes import Credentials, Machine

CALLS = int(os.environ.get("PERDURE_BENT_REQUESTS", "1000"))
RENEWED_EACH = 200
TOKEN = "token-of-a-stranger"
ROLES = "client,worker,operator"
# What a node writes by itself: its lease.
LEASE = {"buckets", "nodes"}
BODY = b'{"a": [1, 2, 3]}'
PATHS = [
    *("/healthz", "/metrics", "/2015-03-31/functions", "/2015-03-31/functions/f/invocations"),
    *("/2025-12-01/durable-executions/x", "/2025-12-01/durable-executions/x/history", "/%", "*"),
]
VERBS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT", "GRÜSS"]
HEADERS = [
    *("Content-Length: 16", "Content-Length: -1", "Content-Length: 99999999999999999999"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Expect: 100-continue"),
    *("Connection: upgrade", "Upgrade: h2c", "Connection: close", "Host: localhost", "Host:"),
    *(
        "Authorization: Bearer x",
        "Authorization: AWS4-HMAC-SHA256 Credential=",
        "X: " + "y" * 9_000,
    ),
    *("X-Amz-Date: tomorrow", "X-Amz-Invocation-Type: Event", "Range: bytes=0-", "X\0: 1", ": 1"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a node with a token; no log line of it may be about an error of its own."""
    folder = tmp_path_factory.mktemp("node")
    server_file, token_file = folder / "tokens", folder / "token"
    server_file.write_text(f"stranger {ROLES} {TOKEN}\n")
    token_file.write_text(TOKEN)
    with Machine(
        folder,
        secured=Credentials(token_file=server_file),
        known=Credentials(token_file=token_file),
    ) as machine:
        machine.start_server()
        yield machine
        machine.check()
        log = (folder / "server.log").read_text()
        assert "Traceback" not in log
        assert "incident" not in log


def channel_to(node: Machine) -> grpc.aio.Channel:
    settings = ConnectionSettings(server=node.server_address, token_file=str(node.known.token_file))
    return open_aio_channel(settings)


def log_lines(node: Machine) -> int:
    return len((node.folder / "server.log").read_text().splitlines())


def stored(node: Machine) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of the database, but for those of the lease."""
    connection = sqlite3.connect(node.folder / "perdure.db")
    try:
        named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in named if name not in LEASE]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    finally:
        connection.close()


async def seen(channel: grpc.aio.Channel, arn: str) -> tuple[Any, Any]:
    """Return everything that is visible of an execution."""
    stub: Any = client_pb2_grpc.ExecutionServiceStub(channel)
    history = client_pb2.GetExecutionHistoryRequest(execution_arn=arn)
    return (
        await stub.GetExecution(client_pb2.GetExecutionRequest(execution_arn=arn)),
        await stub.GetExecutionHistory(history),
    )


def statuses_of(answers: Counter[str]) -> Counter[str]:
    """Return how often each status was sent."""
    statuses = Counter[str]()
    for answer, count in answers.items():
        statuses[answer.split()[1]] += count
    return statuses


def test_without_a_token_nothing_is_answered_nothing_changes_and_the_log_stays_short(
    node: Machine, record_property: Callable[[str, object], None]
) -> None:
    count = CALLS // 100 * AT_ONCE
    before, lines = stored(node), log_lines(node)
    assert before
    answers = asyncio.run(
        hail(node.server_address, Dice(7), count, token=None, call_s=REFUSAL_S_MAX)
    )
    assert statuses_of(answers) == {"UNAUTHENTICATED": count}
    assert stored(node) == before
    assert log_lines(node) - lines < 100 + count // 20
    record_property("figures", f"{count:,} gRPC calls without a token, all refused")


class BentBytes:
    """Makes requests of HTTP that are hardly any."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def request(self) -> bytes:
        """Return the bytes of a request, some of them bent."""
        dice = self._dice
        headers = [dice.choice(HEADERS) for _ in range(dice.randrange(5))]
        head = f"{dice.choice(VERBS)} {dice.choice(PATHS)} HTTP/1.{dice.choice('0112')}"
        text = "\r\n".join([head, *headers, "", ""]).encode() + BODY[: dice.randrange(17)]
        for _ in range(dice.choice([0, 0, 1, 3, 20])):
            at = dice.randrange(len(text))
            bent = dice.choice([b"", bytes([dice.randrange(256)]), b"\r\n", text[at : at + 30]])
            text = text[:at] + bent + text[at + dice.randrange(3) :]
        return text


async def answer_of(node: Machine, request: bytes) -> str:
    """Send bytes and close the sending side; return the status, or "closed" without one."""
    host, _, port = node.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(REFUSAL_S_MAX):
            head = await reader.readline()
    except OSError:
        return "closed"
    finally:
        writer.close()
    return head.split()[1].decode() if head.startswith(b"HTTP/1.1 ") else "closed"


def test_bent_bytes_over_http_are_refused_and_nothing_changes(
    node: Machine, record_property: Callable[[str, object], None]
) -> None:
    async def main() -> Counter[str]:
        bent = BentBytes(CALLS)
        statuses = Counter[str]()
        for _ in range(0, CALLS, AT_ONCE):
            sent = [answer_of(node, bent.request()) for _ in range(AT_ONCE)]
            statuses.update(await asyncio.gather(*sent))
        return statuses

    before, lines = stored(node), log_lines(node)
    statuses = asyncio.run(main())
    assert not [status for status in statuses if status.startswith("5")]
    assert statuses.keys() >= {"400", "401", "200"}
    assert stored(node) == before
    assert node.http("/healthz").status_code == 200
    assert log_lines(node) - lines < 100 + CALLS // 20
    record_property("figures", f"{CALLS:,} requests of bent bytes: {dict(statuses.most_common())}")


# Last, because what it registers is lost some time later, and that changes the database.
def test_whatever_comes_is_answered_and_who_was_not_meant_is_left_alone(
    node: Machine, record_property: Callable[[str, object], None]
) -> None:
    async def main() -> Counter[str]:
        answers = Counter[str]()
        dice = Dice(CALLS)
        async with channel_to(node) as channel:
            targets = Targets(channel, dice)
            bystander = await targets.suspended()
            before = await seen(channel, bystander)
            for _ in range(0, CALLS, RENEWED_EACH):
                await targets.renew()
                answers += await hail(node.server_address, dice, RENEWED_EACH, token=TOKEN)
            assert await seen(channel, bystander) == before
        return answers

    answers = asyncio.run(main())
    bad = {each for each in answers if each.endswith((" UNKNOWN", " INTERNAL", " DATA_LOSS"))}
    assert not bad
    statuses = statuses_of(answers)
    assert statuses.keys() >= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}
    record_property("figures", f"{answers.total():,} gRPC calls: {dict(statuses.most_common())}")
