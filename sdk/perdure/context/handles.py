"""Handles of callbacks and waits that were created earlier and are awaited later.

Their starts are recorded, or about to be; the programs here run when the handler awaits them.
"""

from typing import Any, Protocol, TypeVar

from perdure.exceptions import InvocationError
from perdure.invocation.scope import Scope
from perdure.operations.callback import callback_result
from perdure.operations.identity import Identity
from perdure.operations.program import Program
from perdure.operations.wait import cancel_wait, wait_result
from perdure.serdes.serializers import Payloads, SerDes
from perdure_core.model import Operation

T = TypeVar("T")


class HandleFactory(Protocol):
    """The operation factory of the context that created them."""

    scope: Scope

    def instrumented(
        self, identity: Identity, program: Program[T], *, virtual: bool = False
    ) -> Program[T]:
        """Return the program of an operation, instrumented if there are plugins."""
        ...

    def payloads(self, identity: Identity, serdes: SerDes[Any]) -> Payloads:
        """Return the payload codec of an operation: its serializer in its place."""
        ...


class CallbackHandle:
    """A callback whose start is recorded, or about to be."""

    def __init__(self, operations: HandleFactory, identity: Identity, serdes: SerDes[Any]) -> None:
        self.operation_id = identity.id
        self.scope = operations.scope
        self._operations = operations
        self._identity = identity
        self._payloads = operations.payloads(identity, serdes)

    def result(self) -> Program[Any]:
        """Return the program that awaits the result."""
        self.scope.enter("the result of a callback")
        operation = self.scope.invocation.recorded(self.operation_id)
        if operation is None:
            raise InvocationError(f"Callback {self.operation_id} is not recorded.")
        program = callback_result(self._identity, operation)
        return decoded(self._operations.instrumented(self._identity, program), self._payloads)


class WaitHandle:
    """A wait whose start is recorded, or about to be."""

    def __init__(self, operations: HandleFactory, identity: Identity) -> None:
        self.operation_id = identity.id
        self.scope = operations.scope
        self._operations = operations
        self._identity = identity

    def result(self) -> Program[None]:
        """Return the program that awaits the end."""
        operation = self._recorded("the result of a wait")
        return self._operations.instrumented(self._identity, wait_result(self._identity, operation))

    def cancel(self) -> Program[bool]:
        """Return the program that cancels the wait."""
        operation = self._recorded("the cancellation of a wait")
        return self._operations.instrumented(self._identity, cancel_wait(self._identity, operation))

    def _recorded(self, call: str) -> Operation:
        self.scope.enter(call)
        operation = self.scope.invocation.recorded(self.operation_id)
        if operation is None:
            raise InvocationError(f"Wait {self.operation_id} is not recorded.")
        return operation


def decoded(program: Program[str | None], payloads: Payloads) -> Program[Any]:
    """Return the program that decodes the text which `program` returns."""
    text = yield from program
    return payloads.read(text)
