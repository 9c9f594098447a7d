"""The asyncio client, from which the blocking one is generated.

async with AsyncClient() as client:
    print(await client.run("order", {"order_id": "17"}, name="order-17"))

Every method drives one program of `perdure.client.flows` or `perdure.client.unary_flows`, which
decide what to send, and when to retry. After a change run `make client`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from perdure.client import flows, requests, unary_flows
from perdure.client.environment import system_environment
from perdure.client.errors import ClientError, InvalidArgumentError, read_rpc_error
from perdure.client.models import (
    ExecutionDescription,
    ExecutionSummary,
    FunctionDescription,
    HistoryEvent,
    OpenCallback,
    QuarantinedItem,
    StartedExecution,
    StoredRow,
)
from perdure_host.channel import connection_settings
from perdure_host.errors import SettingsError
from perdure_host.forks.client_channel import AioClientChannel
from perdure_proto.v1 import model_pb2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class AsyncClient:
    """Client of one server, for asyncio. One client belongs to one event loop.

    Arguments that are None are read from the environment: PERDURE_SERVER, PERDURE_TOKEN_FILE,
    PERDURE_TLS_CA, PERDURE_TLS_CERT, PERDURE_TLS_KEY. `patience_s` is how long a call is retried
    while no server answers.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        token_file: str | None = None,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        patience_s: float = flows.PATIENCE_S_DEFAULT,
    ) -> None:
        settings = connection_settings(
            os.environ,
            server=server,
            token_file=token_file,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
        )
        try:
            self._channel = AioClientChannel(settings)
        except SettingsError as error:
            raise InvalidArgumentError(str(error)) from error
        self._environment = system_environment(patience_s)

    async def close(self) -> None:
        """Close the connection. The client cannot be used afterwards."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(  # noqa: PLR0913 - one parameter for each field
        self,
        function_name: str,
        payload: Any = None,
        *,
        payload_text: str | None = None,
        name: str | None = None,
        execution_timeout_s: int | None = None,
        retention_days: int | None = None,
        tenant_id: str | None = None,
        trace_header: str | None = None,
        accept_unknown: bool = False,
    ) -> StartedExecution:
        """Start an execution and return as soon as the start is durable.

        The payload is a value that JSON can hold; `payload_text` is sent as it is instead. When
        the same `name` was started before with an equal payload, the execution of that name is
        returned; with another payload AlreadyExistsError is raised. `tenant_id` is required by
        functions that isolate tenants, and refused by all others. `trace_header` is the trace
        that the start belongs to, in the format of `X-Amzn-Trace-Id`: 1 to 8,192 characters,
        which the execution keeps and passes on. With `accept_unknown` a function that no worker
        has registered yet is started too: the execution waits for one.
        """
        request = requests.start_request(
            function_name,
            self._environment.new_name() if name is None else name,
            payload,
            payload_text,
            execution_timeout_s=execution_timeout_s,
            retention_days=retention_days,
            tenant_id=tenant_id,
            trace_header=trace_header,
            accept_unknown=accept_unknown,
        )
        return await self._drive(flows.start(self._environment, request))

    async def run(  # noqa: PLR0913 - one parameter for each field
        self,
        function_name: str,
        payload: Any = None,
        *,
        payload_text: str | None = None,
        name: str | None = None,
        timeout_s: float | None = None,
        execution_timeout_s: int | None = None,
        retention_days: int | None = None,
        tenant_id: str | None = None,
        trace_header: str | None = None,
        accept_unknown: bool = False,
    ) -> Any:
        """Start an execution (see `start`), wait for its end and return its result.

        Raises ExecutionFailedError when it ends otherwise, and WaitTimeoutError after
        `timeout_s`, while the execution goes on. A server that restarts meanwhile is waited for:
        as long as the client's patience before it has answered the start, which it does within a
        second, and without limit afterwards.
        """
        request = requests.start_request(
            function_name,
            self._environment.new_name() if name is None else name,
            payload,
            payload_text,
            execution_timeout_s=execution_timeout_s,
            retention_days=retention_days,
            tenant_id=tenant_id,
            trace_header=trace_header,
            accept_unknown=accept_unknown,
        )
        return await self._drive(flows.run(self._environment, request, timeout_s))

    async def wait(
        self, execution_arn: str, *, timeout_s: float | None = None
    ) -> ExecutionDescription:
        """Wait for the end of an execution, however it ends, and return the execution."""
        return await self._drive(flows.wait(self._environment, execution_arn, timeout_s))

    async def result(self, execution_arn: str, *, timeout_s: float | None = None) -> Any:
        """Wait for the end of an execution and return its result, or raise its error."""
        return flows.result_of(await self.wait(execution_arn, timeout_s=timeout_s))

    async def get(self, execution_arn: str, *, include_data: bool = True) -> ExecutionDescription:
        """Return one execution as it is now; without data its input and result are None."""
        return await self._drive(
            unary_flows.get(self._environment, execution_arn, include_data=include_data)
        )

    def history(
        self,
        execution_arn: str,
        *,
        newest_first: bool = False,
        page_items: int = 1_000,
        include_data: bool = True,
    ) -> AsyncIterator[HistoryEvent]:
        """Return the events so far, page by page; without data their payloads are None."""
        pages = partial(
            unary_flows.history_page,
            self._environment,
            execution_arn,
            newest_first=newest_first,
            page_items=page_items,
            include_data=include_data,
        )
        return self._items(pages)

    async def follow(
        self, execution_arn: str, *, after_event_id: int = 0, timeout_s: float | None = None
    ) -> AsyncIterator[HistoryEvent]:
        """Return the events so far, then each new one as it happens, until the end."""
        history_stream = flows.HistoryStream(
            self._environment, execution_arn, after_event_id, timeout_s
        )
        while True:  # ends with the execution, or with the caller's time
            try:
                async for message in self._stream(history_stream):
                    yield history_stream.received(message)
            except grpc.RpcError as error:
                await asyncio.sleep(history_stream.disconnected(read_rpc_error(error)))
            else:
                return

    def list_executions(
        self,
        *,
        function_name: str | None = None,
        name: str | None = None,
        name_prefix: str | None = None,
        statuses: Iterable[str] = (),
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        oldest_first: bool = False,
        page_items: int = 100,
    ) -> AsyncIterator[ExecutionSummary]:
        """Return the executions that match all filters. Times without a zone are UTC."""

        def pages(*, marker: str) -> flows.Program[unary_flows.Page[ExecutionSummary]]:
            request = requests.list_request(
                function_name=function_name,
                execution_name=name,
                execution_name_prefix=name_prefix,
                statuses=statuses,
                started_after=started_after,
                started_before=started_before,
                oldest_first=oldest_first,
                page_items=page_items,
                marker=marker,
            )
            return unary_flows.list_page(self._environment, request)

        return self._items(pages)

    def list_open_callbacks(
        self, execution_arn: str, *, page_items: int = 1_000
    ) -> AsyncIterator[OpenCallback]:
        """Return the callbacks of an execution that are not completed yet, oldest first."""
        pages = partial(
            unary_flows.open_callback_page, self._environment, execution_arn, page_items=page_items
        )
        return self._items(pages)

    def list_quarantined(self, *, page_items: int = 1_000) -> AsyncIterator[QuarantinedItem]:
        """Return what the server has set aside because it cannot be read, oldest first."""
        pages = partial(unary_flows.quarantined_page, self._environment, page_items=page_items)
        return self._items(pages)

    def list_stored_rows(
        self, execution_arn: str, *, page_items: int = 1_000
    ) -> AsyncIterator[StoredRow]:
        """Return the rows of an execution as the database holds them, readable or not."""
        pages = partial(
            unary_flows.stored_row_page, self._environment, execution_arn, page_items=page_items
        )
        return self._items(pages)

    async def stop(
        self,
        execution_arn: str,
        *,
        error_type: str | None = None,
        error_message: str | None = None,
        error_data: str | None = None,
    ) -> datetime:
        """End an execution as STOPPED; return when it ended, which may be long ago."""
        error = requests.error_message(error_type, error_message, error_data, ())
        return await self._drive(unary_flows.stop(self._environment, execution_arn, error))

    async def pause(
        self,
        execution_arn: str,
        *,
        reason: str | None = None,
        execution_timeout_paused: bool = True,
    ) -> str:
        """Start no more invocations until `resume`; return PAUSING or PAUSED."""
        program = unary_flows.pause(
            self._environment,
            execution_arn,
            reason,
            execution_timeout_paused=execution_timeout_paused,
        )
        return await self._drive(program)

    async def resume(self, execution_arn: str, *, reason: str | None = None) -> str:
        """End a pause and return the status."""
        return await self._drive(unary_flows.resume(self._environment, execution_arn, reason))

    async def delete(self, execution_arn: str) -> datetime:
        """Delete an execution that has ended; return when this was requested first."""
        return await self._drive(unary_flows.delete(self._environment, execution_arn))

    async def list_functions(self) -> tuple[FunctionDescription, ...]:
        """Return the functions that are registered, by name."""
        return await self._drive(unary_flows.list_functions(self._environment))

    async def register_functions(self, functions: Iterable[requests.RegistrableFunction]) -> None:
        """Register decorated functions before there is a worker that serves them.

        Their executions can be started from then on, and wait for a worker. What is registered
        last counts, by a worker or here. The token needs the role `worker` or `operator`.
        """
        await self._drive(unary_flows.register_functions(self._environment, functions))

    async def succeed_callback(
        self, callback_id: str, result: Any = None, *, result_text: str | None = None
    ) -> None:
        """Complete a callback with a value that JSON can hold, or with a text as it is."""
        await self._drive(
            unary_flows.succeed_callback(self._environment, callback_id, result, result_text)
        )

    async def fail_callback(
        self,
        callback_id: str,
        *,
        error_type: str | None = None,
        error_message: str | None = None,
        error_data: str | None = None,
        stack_trace: Iterable[str] = (),
    ) -> None:
        """Complete a callback with an error, which is raised where its result is awaited."""
        error = requests.error_message(error_type, error_message, error_data, stack_trace)
        await self._drive(unary_flows.fail_callback(self._environment, callback_id, error))

    async def heartbeat_callback(self, callback_id: str) -> None:
        """Restart the heartbeat timeout of a callback; its total timeout goes on."""
        await self._drive(unary_flows.heartbeat_callback(self._environment, callback_id))

    async def _items(
        self, pages: Callable[..., flows.Program[unary_flows.Page[_Item]]]
    ) -> AsyncIterator[_Item]:
        """Yield the items of every page; `pages` reads the one after a marker."""
        marker = ""
        while True:  # ends with the last page
            page = await self._drive(pages(marker=marker))
            for item in page.items:
                yield item
            marker = page.next_marker
            if not marker:
                return

    async def _drive(self, program: flows.Program[_Result]) -> _Result:
        try:
            effect = next(program)
            while True:  # ends with the program
                try:
                    answer = await self._perform(effect)
                except ClientError as error:
                    effect = program.throw(error)
                else:
                    effect = program.send(answer)
        except StopIteration as end:
            result: _Result = end.value
            return result

    async def _perform(self, effect: flows.Effect) -> Message | None:
        if isinstance(effect, flows.Sleep):
            await asyncio.sleep(effect.seconds)
            return None
        try:
            send = self._channel.unary_unary(
                effect.path,
                request_serializer=flows.serialize,
                response_deserializer=effect.answer_type.FromString,
            )
            answer: Message = await send(effect.request, timeout=effect.try_s)
        except grpc.RpcError as error:
            raise read_rpc_error(error) from error
        return answer

    async def _stream(self, history_stream: flows.HistoryStream) -> AsyncIterator[model_pb2.Event]:
        request = history_stream.request()
        open_stream = self._channel.unary_stream(
            flows.rpc_path(type(request)),
            request_serializer=flows.serialize,
            response_deserializer=model_pb2.Event.FromString,
        )
        stream = open_stream(request, timeout=history_stream.left_s())
        try:
            async for message in stream:
                yield message
        finally:
            stream.cancel()
