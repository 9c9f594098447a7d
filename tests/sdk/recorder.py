"""A plugin that records the calls of its hooks, and factories to install it."""

import threading
from collections.abc import Callable
from typing import Any

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.plugin import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
    OperationChangeInfo,
    OperationEndInfo,
    OperationInfo,
    OperationStartInfo,
    PropagationInput,
    PropagationMetadata,
    UserFunctionEndInfo,
    UserFunctionStartInfo,
)
from tests.sdk.hosted import async_handler, handler

Infos = InvocationStartInfo | InvocationEndInfo | OperationChangeInfo | OperationInfo


class Recording(DurableInstrumentationPlugin):
    """Writes into the lists of its factory, from any thread."""

    def __init__(self, factory: "Recorder") -> None:
        self._factory = factory

    def provide_propagation_metadata(self, info: PropagationInput) -> PropagationMetadata | None:
        self._factory.targets.append(info)
        header = self._factory.header
        return None if header is None else PropagationMetadata(header)

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        self._factory.note("invocation", info)

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        self._factory.note(info.status.value, info)

    def on_operation_start(self, info: OperationStartInfo) -> None:
        self._factory.note(f"{'again' if info.is_replayed else 'start'} {_name(info)}", info)

    def on_operation_end(self, info: OperationEndInfo) -> None:
        again = " again" if info.is_replayed else ""
        self._factory.note(f"{info.status.lower()}{again} {_name(info)}", info)

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        self._factory.changes.append(info)
        self._factory.change_threads.add(threading.current_thread().name)

    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        attempt = "" if info.attempt is None else f" #{info.attempt}"
        children = " over its children" if info.is_replay_children else ""
        self._factory.note(f"call {_name(info)}{attempt}{children}", info)

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        self._factory.note(f"{info.outcome.value.lower()} call {_name(info)}", info)


class Recorder:
    """Makes recording plugins. `log` has one line a hook, but for changes; `infos` the infos."""

    def __init__(self, header: str | None = None) -> None:
        self.header = header
        self.log: list[str] = []
        self.infos: list[Infos] = []
        self.threads: list[str] = []
        self.changes: list[OperationChangeInfo] = []
        self.change_threads: set[str] = set()
        self.targets: list[PropagationInput] = []

    def create_plugin(self, _info: InvocationStartInfo) -> DurableInstrumentationPlugin:
        return Recording(self)

    def note(self, line: str, info: Infos) -> None:
        self.log.append(line)
        self.infos.append(info)
        self.threads.append(threading.current_thread().name)

    def of(self, line: str) -> Any:
        """Return the argument of the first hook with this line."""
        return self.infos[self.log.index(line)]


class Factory:
    """Makes plugins by calling something."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def create_plugin(self, _info: InvocationStartInfo) -> Any:
        return self._make()


HOOKS = [name for name in dir(DurableInstrumentationPlugin) if not name.startswith("_")]


class Raising(DurableInstrumentationPlugin):
    """Raises in every hook."""

    def __init__(self, error: BaseException | None = None) -> None:
        def raises(_info: object) -> None:
            raise error or RuntimeError("broken plugin")

        for hook in HOOKS:
            setattr(self, hook, raises)


def _name(info: OperationInfo) -> str:
    return info.name or info.operation_type.value


def blocking(body: Callable[[DurableContext], Any], *factories: Any) -> DurableFunction:
    """Return an ordinary handler with these plugins."""

    def handle(_event: Any, context: DurableContext) -> Any:
        return body(context)

    return handler(handle, factories)


def awaiting(body: Callable[[AsyncDurableContext], Any], *factories: Any) -> DurableFunction:
    """Return an async handler with these plugins."""

    async def handle(_event: Any, context: AsyncDurableContext) -> Any:
        return await body(context)

    return async_handler(handle, factories)
