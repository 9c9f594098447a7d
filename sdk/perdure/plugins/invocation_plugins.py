"""Plugins of one invocation: when each hook is called, and what happens when it raises.

Operations report what they do through `perdure.context.instrumented`; the invocation's state passes
in what the service answers. The end of an operation is *pending* from the time it is known until a
hook is called for it: when the handler reaches the operation, or else at the end of the invocation.

    pending ──── the handler reaches it, or a context above it ────> hook called
        └─────── the invocation ends ──────────────────────────────> hook called

Must stay true: no hook is called with a lock held, or for a plugin whose start hook was not called.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final, assert_never, cast

from perdure.plugins.changes import ChangeNotifier
from perdure.plugins.hooks import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
    InvocationStatus,
    OperationChangeInfo,
    OperationEndInfo,
    OperationInfo,
    OperationStartInfo,
    PropagationInput,
    PropagationMetadata,
    UserFunctionEndInfo,
    UserFunctionStartInfo,
)
from perdure.plugins.loading import Factories
from perdure.protocol.invocation import Invocation, InvocationLost
from perdure.protocol.outcome import Diverged, Errored, Failed, Lost, Outcome, Pending, Succeeded
from perdure.serdes.error_records import error_record
from perdure_core.limits import TRACE_HEADER_CHARS_MAX
from perdure_core.model import (
    OPERATION_OPEN,
    ErrorObject,
    ExecutionDetails,
    Operation,
    OperationUpdate,
)
from perdure_core.payload import text_of
from perdure_core.timestamps import from_epoch_ms

# They ask the running thread to stop, and must not be suppressed.
_STOPS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)

Info = (
    InvocationStartInfo
    | InvocationEndInfo
    | OperationStartInfo
    | OperationEndInfo
    | OperationChangeInfo
    | UserFunctionStartInfo
    | UserFunctionEndInfo
)

_log = logging.getLogger("perdure")


class InvocationPlugins:
    """Calls the hooks of one invocation. Threads may share it."""

    def __init__(
        self, factories: Factories, invocation: Invocation, now_ms: Callable[[], int]
    ) -> None:
        self.now_ms = now_ms
        self.execution_arn = invocation.execution_arn
        self._factories = factories
        self._invocation = invocation
        self._lock = threading.Lock()
        self._infos = {
            operation.id: OperationInfo.from_operation(operation)
            for operation in invocation.operations
        }
        self._pending_ends: dict[str, OperationInfo] = {}
        # The ends that were pending below each operation; those notified since are gone from above.
        self._pending_ends_below: dict[str, dict[str, None]] = {}
        for id_ in invocation.updated_operation_ids:
            if (info := self._infos.get(id_)) is not None:
                self._note_end(info)
        self._closing: dict[str, OperationUpdate] = {}
        self._replayed: set[str] = set()
        self._plugins: list[DurableInstrumentationPlugin] = []
        self._logged: set[tuple[int, str]] = set()
        self._start_info = self._described()
        self._changes: ChangeNotifier | None = None
        self._over = False

    @classmethod
    def of(
        cls, factories: Factories, invocation: Invocation, now_ms: Callable[[], int]
    ) -> "InvocationPlugins | None":
        """Return the plugins of an invocation; None if there are none."""
        return cls(factories, invocation, now_ms) if factories else None

    def start(self) -> None:
        """Create the plugins, and call their start hooks."""
        for plugin in self._created():
            self._plugins.append(plugin)  # a start hook that fails may have started something
            self._call(plugin, self._start_info)
        if not any(_overrides_change_hook(plugin) for plugin in self._plugins):
            return
        self._changes = ChangeNotifier(self._notify_changes)
        try:
            self._changes.start()
        except RuntimeError:
            _log.warning(
                "Cannot start a thread for plugins: changes are reported at the end.",
                exc_info=True,
            )

    def update(self, operations: Iterable[Operation]) -> None:
        """Update the known operations. Does not wait, and calls no hook."""
        changed: dict[str, None] = {}
        with self._lock:
            for operation in operations:
                before = self._infos.get(operation.id)
                info = self._info(operation)
                self._infos[operation.id] = info
                if before is None or before.status is not info.status:
                    changed[operation.id] = None
                    self._note_end(info)
        if changed and self._changes is not None:
            self._changes.note(changed)

    def note_closing(self, update: OperationUpdate) -> None:
        """Remember the update that ends an operation: answers do not repeat its result."""
        with self._lock:
            self._closing[update.id] = update

    def notify_start(self, info: OperationStartInfo) -> None:
        """Notify that an operation starts, or is replayed before its end."""
        with self._lock:
            self._replayed.add(info.operation_id)
        self._notify(info)

    def notify_replayed(self, operation: Operation) -> None:
        """Notify once that an operation started by an earlier invocation is replayed."""
        with self._lock:
            known = operation.id in self._replayed
            self._replayed.add(operation.id)
        if not known:
            info = OperationInfo.from_operation(operation, is_replayed=True)
            self._notify(OperationStartInfo(**vars(info)))

    def notify_end(self, operation_id: str) -> None:
        """Notify that an operation has ended, if that is pending, after all that ended below it."""
        with self._lock:
            infos = self._take(operation_id)
        for info in infos:
            self._notify(OperationEndInfo(**vars(info)))

    def notify(self, info: OperationEndInfo | UserFunctionStartInfo | UserFunctionEndInfo) -> None:
        """Notify of an event that only the caller knows."""
        self._notify(info)

    def trace_header(self, target: PropagationInput) -> str | None:
        """Return the trace header of the first plugin that has one for a chained invoke."""
        headers = [self._header_of(plugin, target) for plugin in self._running()]
        return next((header for header in headers if header is not None), None)

    def stop_changes(self) -> Future[None]:
        """Deliver all changes; the future resolves when that is done."""
        changes = self._changes or ChangeNotifier(self._notify_changes)
        return changes.stop()

    def end(self, outcome: Outcome) -> None:
        """Notify of all pending ends, then of the end of the invocation. Raises nothing."""
        while self._pending_ends:
            for operation_id in list(self._pending_ends):
                _contained(self.notify_end, operation_id)
        info = self._ended(outcome)
        for plugin in self._plugins:
            _contained(self._call, plugin, info)
        self._over = True

    def _running(self) -> list[DurableInstrumentationPlugin]:
        return [] if self._over else self._plugins

    def _notify(self, info: Info) -> None:
        for plugin in self._running():
            self._call(plugin, info)

    def _call(self, plugin: DurableInstrumentationPlugin, info: Info) -> None:
        try:
            _hook(plugin, info)
        except BaseException as error:  # noqa: BLE001 - plugins only watch
            self._log_failure(plugin, type(info).__name__, error)

    def _log_failure(self, plugin: object, hook: str, error: BaseException) -> None:
        """Log what a plugin raised, once for each of its hooks; re-raise requests to stop."""
        stops, rest = _split_control_flow(error)
        if rest is not None and (key := (id(plugin), hook)) not in self._logged:
            self._logged.add(key)
            _log.error(
                "%s: plugin %s failed in its hook for %s; further failures of this hook are not"
                " logged in this invocation.",
                self.execution_arn,
                type(plugin).__qualname__,
                hook,
                exc_info=rest,
            )
        if stops is not None:
            raise stops

    def _created(self) -> Iterable[DurableInstrumentationPlugin]:
        for factory in self._factories:
            try:
                plugin = _plugin(factory.create_plugin(self._start_info))
            except BaseException as error:  # noqa: BLE001 - plugins only watch
                self._log_failure(factory, "create_plugin", error)
            else:
                yield plugin

    def _header_of(
        self, plugin: DurableInstrumentationPlugin, target: PropagationInput
    ) -> str | None:
        try:
            return _header(plugin.provide_propagation_metadata(target))
        except BaseException as error:  # noqa: BLE001 - plugins only watch
            self._log_failure(plugin, type(target).__name__, error)
            return None

    def _info(self, operation: Operation) -> OperationInfo:
        info = OperationInfo.from_operation(operation)
        closing = self._closing.get(operation.id)
        if closing is None or info.status in OPERATION_OPEN:
            return info
        result, error = info.result or closing.payload, info.error or closing.error
        return replace(info, result=result, error=error)

    def _note_end(self, info: OperationInfo) -> None:
        """Remember to notify of the end of an operation, if it has ended."""
        if info.status in OPERATION_OPEN:
            return
        self._pending_ends[info.operation_id] = info
        if info.parent_id is not None:
            self._pending_ends_below.setdefault(info.parent_id, {})[info.operation_id] = None

    def _take(self, operation_id: str) -> list[OperationInfo]:
        """Remove and return the pending ends of an operation and, before it, of those below it."""
        info = self._pending_ends.pop(operation_id, None)
        if info is None:
            return []
        below = self._pending_ends_below.pop(operation_id, {})
        return [*(each for id_ in below for each in self._take(id_)), info]

    def _notify_changes(self, operation_ids: dict[str, None]) -> None:
        with self._lock:
            operations = dict(self._infos)
        updated = {id_: operations[id_] for id_ in operation_ids}
        info = OperationChangeInfo(self.execution_arn, updated, operations)
        for plugin in self._running():
            _contained(self._call, plugin, info)

    def _described(self) -> InvocationStartInfo:
        invocation = self._invocation
        execution = invocation.operations[0] if invocation.operations else None
        return InvocationStartInfo(
            request_id=invocation.invocation_id,
            execution_arn=invocation.execution_arn,
            is_first_invocation=invocation.first,
            execution_start_time=None if execution is None else from_epoch_ms(execution.started_ms),
            execution_input=_input(execution),
            operations=dict(self._infos),
            updated_operations={
                id_: self._infos[id_]
                for id_ in invocation.updated_operation_ids
                if id_ in self._infos
            },
            trace_header=invocation.trace_header,
        )

    def _ended(self, outcome: Outcome) -> InvocationEndInfo:
        status, error, result = _end(outcome)
        start = self._start_info
        return InvocationEndInfo(
            request_id=start.request_id,
            execution_arn=start.execution_arn,
            is_first_invocation=start.is_first_invocation,
            execution_start_time=start.execution_start_time,
            execution_input=start.execution_input,
            operations=dict(self._infos),
            trace_header=start.trace_header,
            status=status,
            error=error,
            execution_result=result,
        )


def _hook(plugin: DurableInstrumentationPlugin, info: Info) -> None:
    match info:
        case InvocationStartInfo():
            plugin.on_invocation_start(info)
        case InvocationEndInfo():
            plugin.on_invocation_end(info)
        case OperationStartInfo():
            plugin.on_operation_start(info)
        case OperationEndInfo():
            plugin.on_operation_end(info)
        case OperationChangeInfo():
            plugin.on_operation_change(info)
        case UserFunctionStartInfo():
            plugin.on_user_function_start(info)
        case UserFunctionEndInfo():
            plugin.on_user_function_end(info)
        case _:
            assert_never(info)


def _plugin(created: object) -> DurableInstrumentationPlugin:
    if not isinstance(created, DurableInstrumentationPlugin):
        raise TypeError(
            f"create_plugin must return a DurableInstrumentationPlugin,"
            f" got {type(created).__qualname__}"
        )
    return created


def _overrides_change_hook(plugin: DurableInstrumentationPlugin) -> bool:
    hook = getattr(plugin.on_operation_change, "__func__", None)
    return hook is not DurableInstrumentationPlugin.on_operation_change


def _split_control_flow(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Split an error into requests to stop the thread, and failures."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.split(_STOPS)
    return (error, None) if isinstance(error, _STOPS) else (None, error)


def _contained(call: Callable[..., None], *args: Any) -> None:
    """Call where nothing can be stopped: on a thread of the SDK, and at the end."""
    try:
        call(*args)
    except BaseException:  # noqa: BLE001 - a request to stop has no meaning here
        _log.exception("A plugin requested to stop where nothing can be stopped; ignored.")


def _header(metadata: PropagationMetadata | None) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, PropagationMetadata):  # pyright: ignore[reportUnnecessaryIsInstance] - plugins may be untyped
        raise TypeError(
            f"provide_propagation_metadata must return PropagationMetadata or None,"
            f" got {type(metadata)}"
        )
    header = metadata.x_amzn_trace_id
    if header is None:
        return None
    if not isinstance(header, str):  # pyright: ignore[reportUnnecessaryIsInstance] - plugins may be untyped
        raise TypeError(f"x_amzn_trace_id must be str or None, got {type(header)}")
    if len(header) > TRACE_HEADER_CHARS_MAX:
        raise ValueError(
            f"x_amzn_trace_id must be at most {TRACE_HEADER_CHARS_MAX:,} characters,"
            f" got {len(header):,}"
        )
    return header if header.strip() else None


def _input(execution: Operation | None) -> Any:
    """Return the payload as JSON values; None if it is not JSON, which fails the execution."""
    details = None if execution is None else execution.details
    text = text_of(details.input) if isinstance(details, ExecutionDetails) else None
    if text is None or not text.strip():
        return {}
    try:
        return json.loads(text)
    except ValueError:
        return None


def _end(outcome: Outcome) -> tuple[InvocationStatus, ErrorObject | None, str | None]:
    match outcome:
        case Succeeded(result):
            return InvocationStatus.SUCCEEDED, None, result
        case Failed(error):
            return InvocationStatus.FAILED, error, None
        case Pending():
            return InvocationStatus.PENDING, None, None
        case Errored(error) | Diverged(error):
            return InvocationStatus.RETRY, error, None
        case Lost():
            return (
                InvocationStatus.RETRY,
                error_record(InvocationLost("The invocation now belongs to another worker.")),
                None,
            )
        case _:
            assert_never(outcome)
