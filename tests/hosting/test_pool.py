"""The pool of handler processes: reuse, bounds, ends, replacement; their output and results."""

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import psutil
import pytest

from perdure.worker_api import FunctionSettings
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.definitions.variables import process_environment
from perdure_worker.hosting.log_lines import LineFormat
from perdure_worker.hosting.processes.frames import InitFailed, Invoke, Raised, Returned
from perdure_worker.hosting.processes.pool import Pool, RunResult
from perdure_worker.hosting.processes.process import Exited, HandlerProcess, InitTimedOut, TimedOut
from tests.system.processes import ROOT

FOLDER: Final = ROOT / "tests" / "hosting" / "functions"
SCENARIO_S_MAX: Final = 90
REQUEST: Final = "request-1"


def defined(attribute: str, name: str | None = None, **more: Any) -> HostedDefinition:
    defaults: dict[str, Any] = {
        "settings": FunctionSettings(name or attribute.rpartition(".")[2]),
        "handler": attribute if "." in attribute else f"plain_programs.{attribute}",
        "folder": str(FOLDER),
        "timeout_s": 60,
        "durable": False,
    }
    return HostedDefinition(**{**defaults, **more})


def event_of(event: object, request_id: str = REQUEST) -> Invoke:
    return Invoke(
        request_id=request_id,
        function_arn="arn:function",
        event=json.dumps(event),
        deadline_ms=time.monotonic_ns() // 1_000_000 + 60_000,
        tenant_id="blue",
    )


class Written:
    """The lines of a log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def messages(self) -> list[Any]:
        return [json.loads(line)["message"] for line in self.lines]


@asynccontextmanager
async def pooled(
    written: Written | None = None,
    *,
    processes_max: int = 4,
    idle_s: float = 300,
    line_format: LineFormat = LineFormat.JSON,
    inherited: Mapping[str, str] | None = None,
) -> AsyncGenerator[Pool]:
    log = written or Written()

    def new_process(definition: HostedDefinition) -> HandlerProcess:
        environment = process_environment(
            definition,
            inherited={**os.environ, **(inherited or {})},
            endpoint_url="http://127.0.0.1:1",
            line_format=line_format,
            log_stream="stream",
        )
        return HandlerProcess(definition, environment, line_format, log.lines.append)

    pool = Pool(new_process, processes_max=processes_max, idle_s=idle_s)
    try:
        yield pool
    finally:
        await pool.close()


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(SCENARIO_S_MAX):
            await scenario

    asyncio.run(limited())


async def until(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds; the scenario's deadline bounds this."""
    while not holds():  # noqa: ASYNC110 - what is looked at belongs to other processes
        await asyncio.sleep(0.01)


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def result_of(ran: RunResult) -> Any:
    assert isinstance(ran, Returned), ran
    return json.loads(ran.result)


def test_a_warm_process_is_used_again_with_what_it_has_learned() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            echo = defined("echo")
            first = result_of(await pool.run(echo, event_of(1)))
            second = result_of(await pool.run(echo, event_of({"a": "ü"})))
            assert second == {"event": {"a": "ü"}, "pid": first["pid"], "calls": 2}

    play(scenario())


def test_invocations_at_a_time_have_processes_of_their_own() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            echo = defined("echo")
            both = await asyncio.gather(pool.run(echo, event_of(1)), pool.run(echo, event_of(2)))
            assert len({result_of(each)["pid"] for each in both}) == 2

    play(scenario())


def test_functions_never_share_a_process() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            pids = [
                result_of(await pool.run(defined("echo", name=name), event_of(1)))["pid"]
                for name in ("f", "g")
            ]
            assert len(set(pids)) == 2

    play(scenario())


def test_the_longest_idle_process_makes_room() -> None:
    async def scenario() -> None:
        async with pooled(processes_max=2) as pool:
            functions = [defined("echo", name=name) for name in ("f", "g", "h")]
            pids = [result_of(await pool.run(each, event_of(1)))["pid"] for each in functions]
            assert (pool.count, pool.idle) == (2, 2)
            assert [psutil.pid_exists(pid) for pid in pids] == [False, True, True]
            assert result_of(await pool.run(functions[1], event_of(1)))["pid"] == pids[1]

    play(scenario())


def test_an_unused_process_ends() -> None:
    async def scenario() -> None:
        async with pooled(idle_s=0.01) as pool:
            pid = result_of(await pool.run(defined("echo"), event_of(1)))["pid"]
            await until(lambda: pool.count == 0)
            assert not psutil.pid_exists(pid)

    play(scenario())


def test_an_idle_process_that_was_killed_costs_no_invocation() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            echo = defined("echo")
            pid = result_of(await pool.run(echo, event_of(1)))["pid"]
            os.kill(pid, signal.SIGKILL)
            again = result_of(await pool.run(echo, event_of(2)))
            assert again["pid"] != pid
            assert again["calls"] == 1

    play(scenario())


def test_a_handler_that_is_killed_is_reported_as_such_and_replaced() -> None:
    async def scenario() -> None:
        written = Written()
        async with pooled(written) as pool:
            running = asyncio.create_task(pool.run(defined("sleep"), event_of(1)))
            await until(lambda: written.lines != [])
            os.kill(int(written.messages()[0]), signal.SIGKILL)
            assert await running == Exited(-signal.SIGKILL)
            assert pool.count == 0

    play(scenario())


def test_a_timeout_kills_the_process_and_the_next_one_is_fresh() -> None:
    async def scenario() -> None:
        written = Written()
        async with pooled(written) as pool:
            assert await pool.run(defined("sleep", timeout_s=1), event_of(1)) == TimedOut(1)
            assert pool.count == 0
            assert result_of(await pool.run(defined("echo"), event_of(1)))["calls"] == 1

    play(scenario())


@pytest.mark.parametrize(
    ("attribute", "argument", "status"),
    [("leave", 3, 3), ("leave", None, 0), ("leave", "words", 1), ("leave_at_once", 7, 7)],
)
def test_an_exit_is_reported_with_its_status(attribute: str, argument: object, status: int) -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            assert await pool.run(defined(attribute), event_of(argument)) == Exited(status)

    play(scenario())


def test_what_a_handler_started_ends_with_its_process() -> None:
    async def scenario() -> None:
        written = Written()
        async with pooled(written) as pool:
            ran = await pool.run(defined("leave_a_child"), event_of("and exit"))
            assert ran == Exited(1)
            left = int(written.messages()[0])
            await until(lambda: has_ended(left))

    play(scenario())


def test_closing_ends_idle_and_busy_processes() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            idle = result_of(await pool.run(defined("leave_a_child"), event_of(1)))
            running = asyncio.create_task(pool.run(defined("sleep"), event_of(1)))
            await until(lambda: pool.count == 2)
            running.cancel()
            await asyncio.wait((running,))
        await until(lambda: has_ended(idle))
        left = [" ".join(child.cmdline()) for child in psutil.Process().children()]
        assert [line for line in left if "perdure_worker.hosting" in line] == []

    play(scenario())


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("nowhere.handler", "Runtime.ImportModuleError", "Unable to import module 'nowhere': No"),
        ("plain_programs.none", "Runtime.HandlerNotFound", "Handler 'none' missing on module"),
        ("broken_import.handler", "RuntimeError", "no configuration"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_reported_as_on_lambda(
    handler: str, error_type: str, message: str
) -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            ran = await pool.run(defined(handler), event_of(1))
            assert isinstance(ran, InitFailed)
            assert ran.error.type == error_type
            assert ran.error.message.startswith(message)
            assert pool.count == 0

    play(scenario())


def test_imports_that_do_not_end_are_ended() -> None:
    async def scenario() -> None:
        environment = {**os.environ, "_HANDLER": "x.y", "AWS_LAMBDA_FUNCTION_NAME": "f"}
        environment["LAMBDA_TASK_ROOT"] = str(FOLDER)
        process = HandlerProcess(
            defined("echo"), environment, LineFormat.JSON, Written().lines.append
        )
        assert await process.start(init_s=0.01) == InitTimedOut(0.01)
        assert process.ended

    play(scenario())


@pytest.mark.parametrize(
    ("attribute", "error_type", "message"),
    [
        ("raises", "LookupError", "no such order"),
        (
            "unserialisable",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type set is not JSON serializable",
        ),
        (
            "too_large",
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        ),
    ],
)
def test_a_failure_leaves_the_process_warm(attribute: str, error_type: str, message: str) -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            ran = await pool.run(defined(attribute), event_of(1))
            assert isinstance(ran, Raised)
            assert (ran.error.type, ran.error.message) == (error_type, message)
            assert pool.idle == 1

    play(scenario())


def test_a_stack_trace_begins_in_the_handler() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            ran = await pool.run(defined("raises"), event_of(1))
            assert isinstance(ran, Raised)
            (frame,) = ran.error.stack_trace
            assert "plain_programs.py" in frame
            assert "in raises" in frame

    play(scenario())


def test_the_trace_header_is_where_lambda_puts_it() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            handler = defined("describe")
            found = [
                result_of(
                    await pool.run(
                        handler, msgspec.structs.replace(event_of(1), trace_header=header)
                    )
                )["environment"].get("_X_AMZN_TRACE_ID")
                for header in ("Root=1-a", "Root=1-b", None)
            ]
            assert found == ["Root=1-a", "Root=1-b", None]

    play(scenario())


def test_the_client_context_is_made_of_what_the_caller_sent() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            handler = defined("describe_client")
            client = {
                "client": {"installation_id": "till-4", "app_title": "Till"},
                "custom": {"a": [1]},
                "unknown": 1,
            }
            encoded = base64.b64encode(json.dumps(client).encode()).decode()
            event = msgspec.structs.replace(event_of(1), client_context=encoded)
            assert result_of(await pool.run(handler, event)) == [
                {
                    "installation_id": "till-4",
                    "app_title": "Till",
                    "app_version_name": None,
                    "app_version_code": None,
                    "app_package_name": None,
                },
                {"a": [1]},
                None,
            ]
            assert result_of(await pool.run(handler, event_of(1))) is None

    play(scenario())


def test_an_event_that_is_not_json_is_reported_as_such() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            event = msgspec.structs.replace(event_of(1), event="{")
            ran = await pool.run(defined("echo"), event)
            assert isinstance(ran, Raised)
            assert ran.error.type == "Runtime.UnmarshalError"

    play(scenario())


def test_results_are_marshalled_as_by_lambdas_runtime() -> None:
    async def scenario() -> None:
        async with pooled() as pool:
            assert result_of(await pool.run(defined("decimals"), event_of(1))) == [1.5, 2]
            assert result_of(await pool.run(defined("as_bytes"), event_of(1))) == {"raw": 1}

    play(scenario())


def test_a_handler_finds_lambdas_environment_and_context() -> None:
    async def scenario() -> None:
        definition = defined("describe", memory_mb=256, environment={"TABLE": "orders"})
        own = {"PERDURE_SECRET": "x", "AWS_REGION": "eu-north-1", "INHERITED": "yes"}
        async with pooled(inherited=own) as pool:
            found = result_of(await pool.run(definition, event_of(1)))
        assert found["context"] == {
            "aws_request_id": REQUEST,
            "invoked_function_arn": "arn:function",
            "function_name": "describe",
            "function_version": "$LATEST",
            "memory_limit_in_mb": "256",
            "log_group_name": "/aws/lambda/describe",
            "log_stream_name": "stream",
            "client_context": None,
            "tenant_id": "blue",
        }
        assert found["identity"] is None
        assert 0 < found["left"] <= 60_000
        assert (found["folder"], found["path"], found["main_thread"]) == (
            *(str(FOLDER), str(FOLDER)),
            True,
        )
        environment = found["environment"]
        assert "PERDURE_SECRET" not in environment
        expected = {
            "_HANDLER": "plain_programs.describe",
            "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:1",
            "AWS_LAMBDA_FUNCTION_NAME": "describe",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_REGION": "eu-north-1",
            "AWS_DEFAULT_REGION": "eu-north-1",
            "INHERITED": "yes",
            "TABLE": "orders",
        }
        assert {name: environment.get(name) for name in expected} == expected

    play(scenario())


def test_everything_that_is_said_becomes_a_line_in_order() -> None:
    async def scenario() -> None:
        written = Written()
        async with pooled(written) as pool:
            assert result_of(await pool.run(defined("logs"), event_of(1))) is None
        messages = written.messages()
        # Programs that a handler starts print past Python: their lines have no certain place.
        assert messages.pop(messages.index("fourth")) == "fourth"
        assert messages == [
            *("first", "second part", "third", "fifth"),
            *({"sixth": 6}, "half a line", "without an end"),
        ]
        lines = [json.loads(line) for line in written.lines]
        lines = [line for line in lines if line["message"] != "fourth"]
        assert {line["requestId"] for line in lines} == {REQUEST}
        assert {line["functionName"] for line in lines} == {"logs"}
        assert [line["logger"] for line in lines[:3]] == ["stdout", "shop", "stdout"]
        assert (lines[1]["order"], lines[1]["odd"], lines[1]["tenantId"]) == (7, "{1}", "blue")
        assert (lines[3]["level"], lines[3]["errorType"]) == ("ERROR", "ValueError")
        assert "in logs" in "".join(lines[3]["stackTrace"])

    play(scenario())


def test_lines_for_people_name_function_and_request() -> None:
    async def scenario() -> None:
        written = Written()
        async with pooled(written, line_format=LineFormat.TEXT) as pool:
            await pool.run(defined("logs"), event_of(1))
        first = [line for line in written.lines if line.endswith("first")]
        assert first[0].endswith(f"Z INFO    logs {REQUEST} first")
        assert "ValueError: invalid literal" in "".join(written.lines)

    play(scenario())
