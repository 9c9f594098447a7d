"""What is known of a method: the role that it needs, whether it is an action, its priority."""

from collections.abc import Sequence
from typing import Final

from perdure_gateway.admission.delay import Kind
from perdure_host.access.bearer_tokens import Caller, Role

_PACKAGE: Final = "/perdure_proto.v1."
# The first that fits counts. All other methods are open to every role.
_ROLES: Final[dict[str, Sequence[Role]]] = {
    f"{_PACKAGE}ExecutionService/RegisterFunctions": (Role.WORKER, Role.OPERATOR),
    f"{_PACKAGE}ExecutionService/": (Role.CLIENT, Role.OPERATOR),
    f"{_PACKAGE}CallbackService/": (Role.CLIENT, Role.OPERATOR),
    f"{_PACKAGE}WorkerService/": (Role.WORKER,),
    f"{_PACKAGE}NodeService/HandOver": (Role.OPERATOR, Role.NODE),
}
# Actions of an operator, also when the caller has another role.
_OPERATING: Final = frozenset(
    {"HandOver", "StopExecution", "PauseExecution", "ResumeExecution", "DeleteExecution"}
)
# What else changes something; audited when an operator does it.
_CHANGING: Final = frozenset(
    {
        "StartExecution",
        "RegisterFunctions",
        "SucceedCallback",
        "FailCallback",
        "HeartbeatCallback",
    }
)
_OF_CLIENTS: Final = (f"{_PACKAGE}ExecutionService/", f"{_PACKAGE}CallbackService/")


def is_of_clients(method: str) -> bool:
    """Return whether clients call a method, and not workers, nodes or who asks for health."""
    return method.startswith(_OF_CLIENTS)


def kind_of(method: str) -> Kind | None:
    """Return as what a method is refused while the node is behind; None if it never is."""
    if method == f"{_PACKAGE}ExecutionService/StartExecution":
        return Kind.START
    if method.startswith(f"{_PACKAGE}CallbackService/"):
        return Kind.CALLBACK
    return None


def roles_for(method: str) -> Sequence[Role] | None:
    """Return the roles that may call a method; None where each may."""
    return next((roles for begin, roles in _ROLES.items() if method.startswith(begin)), None)


def is_audited(action: str, caller: Caller | None) -> bool:
    """Return whether the audit log has a line for an action of this caller."""
    by_operator = caller is not None and Role.OPERATOR in caller.roles
    return action in _OPERATING or (by_operator and action in _CHANGING)
