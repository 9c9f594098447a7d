"""One request of a Lambda client: its path, query and body, parsed as the API model defines."""

from datetime import UTC, datetime
from typing import TypeVar

from starlette.requests import Request

from perdure_core.refusals import Invalid
from perdure_core.text import preview
from perdure_core.timestamps import to_epoch_ms
from perdure_gateway.admission.memory_budget import Reservation
from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.lambda_api.authentication import Principal
from perdure_gateway.lambda_api.body import Body
from perdure_gateway.lambda_api.function_lookup import known_function
from perdure_host.lambda_json.failures import decoded
from perdure_host.lambda_json.names import parse_function
from perdure_host.lambda_json.queries import number_of, page_items_of
from perdure_host.ports import FunctionRow
from perdure_host.services import History

_Shape = TypeVar("_Shape")


class LambdaRequest:
    """A request, with everything that an operation needs to answer it."""

    def __init__(
        self,
        http_request: Request,
        body: Body,
        history: History,
        readiness: Readiness,
        principal: Principal,
        reservation: Reservation,
        overload: Overload,
    ) -> None:
        self.http_request = http_request
        self.body = body
        self.principal = principal
        self.commands = history.commands
        self.queries = history.queries
        self.invocations = history.invocations
        self.readiness = readiness
        self.overload = overload
        # The memory of its large payloads; released when the request ends.
        self.reservation = reservation

    def path_param(self, name: str) -> str:
        """Return a parameter of the path, with its percent-encoding undone."""
        part: str = self.http_request.path_params[name]
        return part

    async def function(self) -> FunctionRow:
        """Return the function that path and query name. Raises Invalid, Unknown."""
        text, qualifier = self.path_param("function"), self.text("Qualifier")
        return await known_function(self.queries, text, qualifier, self.principal.namespace)

    def qualifier(self) -> str | None:
        """Return the qualifier of the function that path and query name. Raises Invalid."""
        named = parse_function(self.path_param("function"), self.principal.namespace)
        return named.qualifier or self.text("Qualifier")

    def header(self, name: str) -> str | None:
        """Return a header; an empty one counts as absent."""
        return self.http_request.headers.get(name) or None

    def text(self, name: str) -> str | None:
        """Return a query parameter; an empty one counts as absent."""
        return self.http_request.query_params.get(name) or None

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a query parameter that is true or false. Raises Invalid."""
        text = self.text(name)
        if text is None:
            return default
        if text.lower() not in ("true", "false"):
            raise Invalid(f"{name} must be true or false, got {preview(text)}")
        return text.lower() == "true"

    def items(self) -> int:
        """Return how many items a page may hold. Raises Invalid."""
        return page_items_of(self.text("MaxItems"))

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a query parameter that is a number. Raises Invalid."""
        text = self.text(name)
        return default if text is None else number_of(name, text, least=least, most=most)

    def timestamp_ms(self, name: str) -> int | None:
        """Return a query parameter that is a time in ISO 8601. Raises Invalid."""
        text = self.text(name)
        if text is None:
            return None
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise Invalid(f"{name} must be a time in ISO 8601, got {preview(text)}") from None
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        return to_epoch_ms(time)

    async def read(self, shape: type[_Shape], bytes_max: int) -> _Shape:
        """Return the JSON body; an empty one is an empty object. Raises LambdaError, Invalid."""
        return decoded(await self.body.read(bytes_max) or b"{}", shape)
