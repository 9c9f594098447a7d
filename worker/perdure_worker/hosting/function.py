"""Hosted functions as the worker serves them, and the thread that runs everything around them.

A thread of the worker that runs a hosted invocation only waits: the processes, the endpoint that
their AWS SDKs talk to, and all deadlines live on one event loop in a thread of their own, so that
neither a large body nor a busy session keeps the other waiting.
"""

import asyncio
import contextlib
import secrets
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from perdure.worker_api import (
    CheckpointWriter,
    Errored,
    Invocation,
    InvocationEnvironment,
    Lost,
    Outcome,
)
from perdure_core.model import ErrorObject, ExecutionDetails
from perdure_core.payload import text_of
from perdure_worker.hosting.api.endpoint import Endpoint
from perdure_worker.hosting.api.forwarding import LambdaProxy
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.definitions.variables import process_environment
from perdure_worker.hosting.log_lines import LineFormat, LogFormatter
from perdure_worker.hosting.processes.frames import InitFailed, Invoke, Raised, Returned
from perdure_worker.hosting.processes.outcomes import failure_of, outcome_of, refusal_of
from perdure_worker.hosting.processes.pool import Pool, RunResult
from perdure_worker.hosting.processes.process import HandlerProcess

THREAD_NAME: Final = "perdure-hosting"
CLOSE_S_MAX: Final = 15.0
_MS_PER_S: Final = 1_000
_QUALIFIED: Final = "/durable-execution/"

_Value = TypeVar("_Value")


class HostedFunction:
    """A function whose handler runs in a process of its own. See `RegisteredFunction`."""

    def __init__(self, definition: HostedDefinition, hosting: "LambdaHost") -> None:
        self.settings = definition.settings
        self.durable = definition.durable
        self.is_async = False
        self._definition = definition
        self._hosting = hosting

    def run(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation, and wait for its end."""
        return self._hosting.run(self._definition, environment.invocation, environment.checkpoints)

    async def run_async(self, environment: InvocationEnvironment) -> Outcome:
        """Raise AssertionError: callers check `is_async` first."""
        del environment
        raise AssertionError(self.settings.name)

    def __repr__(self) -> str:
        return f"<hosted function {self.settings.name}>"


class LambdaHost:
    """The processes and the endpoint of a worker, for the length of a `with` block."""

    def __init__(
        self,
        definitions: Sequence[HostedDefinition],
        *,
        slots: int,
        environment: Mapping[str, str],
        line_format: LineFormat = LineFormat.TEXT,
        forwarding: LambdaProxy | None = None,
        write: Callable[[str], None] | None = None,
    ) -> None:
        """`environment` is what processes inherit; `write` takes lines of their logs."""
        self.functions = [HostedFunction(definition, self) for definition in definitions]
        self._slots = slots
        self._environment = environment
        self._format = line_format
        self._forwarding = forwarding
        self._write = write or _write_line
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        self._invocations: set[asyncio.Task[Outcome]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._wait(self._open())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._wait(self._shut())
        finally:
            self._stop()

    def run(
        self, definition: HostedDefinition, invocation: Invocation, checkpoints: CheckpointWriter
    ) -> Outcome:
        """Run one invocation in a process, from any thread but the loop's."""
        refusal = None if definition.durable else refusal_of(_input_of(invocation))
        if refusal is not None:
            return refusal
        try:
            return self._wait(self._run(definition, invocation, checkpoints), seconds=None)
        except (CancelledError, _Closed):
            # The worker is ending: outcomes are no longer received.
            return Lost()

    @property
    def pool(self) -> Pool:
        """The processes; they belong to the loop."""
        return self._pool

    async def _open(self) -> None:
        self._endpoint = Endpoint(self._forwarding)
        await self._endpoint.start()
        self._pool = Pool(self._new_process, processes_max=self._slots)

    async def _shut(self) -> None:
        for task in self._invocations:
            task.cancel()
        await asyncio.gather(*self._invocations, return_exceptions=True)
        await self._pool.close()
        await self._endpoint.close()

    async def _run(
        self, definition: HostedDefinition, invocation: Invocation, checkpoints: CheckpointWriter
    ) -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        self._invocations.add(task)
        bridge = self._endpoint.open(invocation, checkpoints)
        request_id = invocation.invocation_id
        try:
            event = bridge.event() if definition.durable else _input_of(invocation)
            invoke = Invoke(
                request_id=request_id,
                function_arn=invocation.execution_arn.partition(_QUALIFIED)[0],
                event=event,
                deadline_ms=time.monotonic_ns() // 1_000_000 + definition.timeout_s * _MS_PER_S,
                tenant_id=invocation.tenant_id,
                trace_header=invocation.trace_header,
                client_context=invocation.client_context,
            )
            result = await self._pool.run(definition, invoke)
        except OSError as error:
            text = f"the process of the handler cannot be started: {error}"
            return Errored(ErrorObject(text, "Worker.ProcessNotStarted"))
        finally:
            self._endpoint.shut(bridge)
            self._invocations.discard(task)
        self._log_failure(definition, result, request_id)
        return outcome_of(definition, result, request_id)

    def _log_failure(
        self, definition: HostedDefinition, result: RunResult, request_id: str
    ) -> None:
        """Write to the log how an invocation has failed, as Lambda's runtime and platform do."""
        if isinstance(result, Returned):
            return
        error = failure_of(result, request_id)
        text = f"{error.type}: {error.message}"
        if isinstance(result, Raised | InitFailed) and error.stack_trace:
            text = f"{text}\nTraceback (most recent call last):\n{''.join(error.stack_trace)}"
        lines = LogFormatter(self._format, definition.settings.name)
        self._write(lines.plain(text.rstrip(), request_id, time.time(), "ERROR", "platform"))

    def _new_process(self, definition: HostedDefinition) -> HandlerProcess:
        access = self._endpoint.admit_process()
        environment = process_environment(
            definition,
            inherited=self._environment,
            endpoint_url=access.url,
            line_format=self._format,
            log_stream=_log_stream(),
        )
        return HandlerProcess(definition, environment, self._format, self._write, access.run)

    def _wait(
        self, job: Coroutine[Any, Any, _Value], seconds: float | None = CLOSE_S_MAX
    ) -> _Value:
        try:
            future = asyncio.run_coroutine_threadsafe(job, self._loop)
        except RuntimeError as error:
            job.close()
            raise _Closed from error
        return future.result(seconds)

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S_MAX)
        if not self._thread.is_alive():
            self._loop.close()


class _Closed(Exception):
    """The loop runs no more."""


def _input_of(invocation: Invocation) -> str:
    details = invocation.operations[0].details if invocation.operations else None
    text = text_of(details.input) if isinstance(details, ExecutionDetails) else None
    # Nothing sent is an empty object, as on Lambda.
    return text if text and not text.isspace() else "{}"


def _write_line(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        # The reader of the log is gone; handlers go on without it.
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _log_stream() -> str:
    """Return the name of a stream as Lambda makes them up: one for each process."""
    return f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{secrets.token_hex(16)}"
