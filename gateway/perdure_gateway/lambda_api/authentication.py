"""Authentication and authorization of Lambda clients, by access keys or without them.

Must stay true: with access keys, no operation starts before the signature of its request, body
included, is verified, and before its key is found to have the right.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.types import Scope

from perdure_core.identity import parse_arn
from perdure_gateway.admission import validation
from perdure_gateway.lambda_api.body import Body
from perdure_gateway.lambda_api.signatures import (
    SignedRequest,
    check_before_body,
    check_signature,
    parse_signature,
)
from perdure_host.access.bearer_tokens import Caller, Role
from perdure_host.access_keys import EVERYTHING, AccessKey, AccessKeys
from perdure_host.clock import MachineClock, WallClock
from perdure_host.lambda_json.failures import Code, LambdaError
from perdure_host.lambda_json.names import function_arn, parse_function
from perdure_host.services import ExecutionCommands
from perdure_host.telemetry import open_log

SIGNED: Final = "AWS4-"
_PRESIGNED: Final = "X-Amz-Signature"
INVOKE_FUNCTION: Final = "lambda:InvokeFunction"
# Where the HTTP port puts the holder of a token.
CALLER: Final = "perdure.caller"
_OF_WORKERS: Final = frozenset(
    {"lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState"}
)

_log = open_log("perdure.gateway")


Authorize: TypeAlias = "Callable[[Principal], Awaitable[None]]"


class Principal:
    """An authenticated caller: of a key, of a token, or without both one with every right."""

    def __init__(self, key: AccessKey | None = None, caller: Caller | None = None) -> None:
        self._key = key
        self._caller = caller
        self.namespace = validation.NAMESPACE if key is None else key.namespace

    @property
    def is_limited(self) -> bool:
        """Return whether the rights of this caller depend on the resource."""
        return self._key is not None

    @property
    def name(self) -> str | None:
        """Return the name of the token, or the id of the key."""
        if self._key is not None:
            return self._key.id
        return None if self._caller is None else self._caller.name

    def check_role(self, action: str) -> None:
        """Raise LambdaError unless the token of this caller, if any, has the role for this."""
        roles = (Role.WORKER,) if action in _OF_WORKERS else (Role.CLIENT, Role.OPERATOR)
        if self._caller is not None and not self._caller.may_act_as(roles):
            raise LambdaError(Code.ACCESS_DENIED, self._caller.problem(action, roles))

    def check(self, action: str, resource: str) -> None:
        """Raise LambdaError unless the caller may do this."""
        if self._key is not None and not self._key.allows(action, resource):
            raise LambdaError(
                Code.ACCESS_DENIED,
                f"the access key {self._key.id} is not authorized to perform: {action}"
                f" on resource: {resource}",
            )


class Authenticator:
    """Authenticates callers. Without keys each has every right, or has presented a token before."""

    def __init__(
        self,
        keys: AccessKeys | None = None,
        clock: MachineClock | None = None,
        *,
        tokens: bool = False,
    ) -> None:
        """With `tokens`, the HTTP port has already checked the token of unsigned requests.

        Clients sign with the time of their own wall clocks, so it is compared with the wall clock.
        """
        self._keys = keys
        self._clock = WallClock() if clock is None else clock
        self._tokens = tokens
        self._warned_unchecked = False

    @property
    def checks_signatures(self) -> bool:
        """Return whether signatures are checked, rather than ignored."""
        return self._keys is not None

    async def authenticate(
        self, request: Request, body: Body, bytes_max: int, authorize: Authorize
    ) -> Principal:
        """Return the caller, once `authorize` raised nothing for it. Raises LambdaError.

        A signed body, of at most this size, is read last: only who knows a key that may do this
        can have it read, and it is held against a bound of its own until its signature is checked.
        """
        if self._keys is not None and request.headers.get("authorization", "").startswith(SIGNED):
            return await self._check_signed(self._keys, request, body, bytes_max, authorize)
        principal = self._unsigned(request)
        await authorize(principal)
        return principal

    def _unsigned(self, request: Request) -> Principal:
        authorization = request.headers.get("authorization", "")
        signed = authorization.startswith(SIGNED)
        caller: Caller | None = request.scope.get(CALLER)
        if self._keys is None:
            if signed:
                self._warn_unchecked()
            return Principal(caller=caller)
        if self._tokens:
            return Principal(caller=caller)
        if authorization:
            raise LambdaError(
                Code.SIGNATURE_INCOMPLETE, "this node knows access keys: sign with AWS4-HMAC-SHA256"
            )
        if _PRESIGNED in request.query_params:
            raise LambdaError(
                Code.SIGNATURE_MISSING,
                "a signature in the query (a presigned URL) is not taken: sign in the header",
            )
        raise LambdaError(
            Code.SIGNATURE_MISSING,
            "missing authentication token: sign the request with an access key",
        )

    async def _check_signed(
        self,
        keys: AccessKeys,
        request: Request,
        body: Body,
        bytes_max: int,
        authorize: Authorize,
    ) -> Principal:
        signed = SignedRequest(
            method=request.method,
            raw_path=request.scope["raw_path"],
            raw_query=request.scope["query_string"],
            headers=request.headers.raw,
        )
        claim = parse_signature(signed, self._clock.now_ms())
        key = keys.find(claim.key_id)
        # Keys here are permanent: none of them has a session token.
        if key is None or signed.value("x-amz-security-token") is not None:
            raise LambdaError(
                Code.CLIENT_UNKNOWN, "the security token included in the request is invalid"
            )
        principal = Principal(key)
        proven = check_before_body(signed, claim, key)
        await authorize(principal)
        content = await body.buffer(bytes_max, proven=proven)
        check_signature(signed, claim, key, content)
        body.prove()
        return principal

    def _warn_unchecked(self) -> None:
        """Log once that signatures are not checked."""
        if not self._warned_unchecked:
            self._warned_unchecked = True
            _log.warning("signatures of Lambda clients are not checked: any access key passes")


def peer_of(scope: Scope) -> str:
    """Return the address and port of who sent a request."""
    host, port = scope.get("client") or ("", 0)
    return f"{host}:{port}"


async def resource_of(request: Request, namespace: str, commands: ExecutionCommands) -> str:
    """Return the ARN of the resource that a request names; `*` when it names none.

    Raises Invalid, Unknown.
    """
    params: dict[str, str] = request.path_params
    match params:
        case {"arn": arn}:
            parse_arn(arn)
            return arn
        case {"function": text}:
            function = parse_function(text, namespace)
            arn = function_arn(function.namespace, function.name)
            qualifier = function.qualifier or request.query_params.get("Qualifier")
            return f"{arn}:{qualifier}" if qualifier else arn
        case {"callback": callback_id}:
            return await commands.callback_arn(callback_id)
        case _:
            return EVERYTHING
