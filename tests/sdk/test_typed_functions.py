"""Annotations of functions: they decide the codecs of inputs and results."""

import functools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, TypeVar
from uuid import UUID

import pytest

from perdure.context.decorators import durable_step
from perdure.exceptions import ExecutionError, SerDesError, ValidationError
from perdure.execution import durable_execution
from perdure.primitives.bound_function import Bound
from perdure.primitives.completion import BatchItemStatus, CompletionReason
from perdure.serdes import ExtendedTypeSerDes, SerDesContext
from perdure.serdes.batch_result import BatchItem, BatchResult
from perdure.typed import (
    decode_event,
    encode_result,
    serdes_of_batch,
    serdes_of_result,
)
from perdure_core.model import ErrorObject

if TYPE_CHECKING:
    from perdure.context import DurableContext

T = TypeVar("T")
CONTEXT = SerDesContext()


class Colour(Enum):
    RED = "red"


@dataclass
class Order:
    id: int
    colour: Colour = Colour.RED


class Plain(TypedDict):
    name: str
    inner: "list[Plain]"


class Rich(TypedDict):
    colours: set[Colour]


def returning(annotation: Any) -> Callable[..., Any]:
    """Return a function with this return annotation."""

    def function(*_: Any) -> Any: ...

    function.__annotations__["return"] = annotation
    return function


def order(step_context: Any, number: int) -> "Order":
    return Order(number)


def texts(func: Any, value: Any) -> str:
    serdes = serdes_of_result(func)
    assert serdes is not None
    text = serdes.serialize(value, CONTEXT)
    assert serdes.deserialize(text, CONTEXT) == value
    return text


@pytest.mark.parametrize(
    "annotation",
    [
        *(Any, object, None, dict, list, tuple, str, int, float, bool, bytes, UUID, Decimal, date),
        *(datetime, dict[str, Any], list[dict[str, datetime]], tuple[int, ...], int | None),
        *(Sequence[int], Mapping[str, list[UUID]], Literal["a", 1], Plain, T, BatchResult[int]),
        *("Unknown", ExtendedTypeSerDes, Callable[[], int]),
    ],
)
def test_what_plain_forms_give_back_keeps_them(annotation: Any) -> None:
    assert serdes_of_result(returning(annotation)) is None


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Order, Order(1), '{"id":1,"colour":"red"}'),
        ("list[Order]", [Order(1)], '[{"id":1,"colour":"red"}]'),
        (set[int], {1}, "[1]"),
        (list[Annotated[set[int], []]], [{1}], "[[1]]"),
        (Sequence[Order], [], "[]"),
        (dict[int, str], {1: "a"}, '{"1":"a"}'),
        (Rich, {"colours": {Colour.RED}}, '{"colours":["red"]}'),
        (Awaitable[Order], Order(1), '{"id":1,"colour":"red"}'),
    ],
)
def test_what_they_would_not_give_back_is_typed(annotation: Any, value: Any, text: str) -> None:
    assert texts(returning(annotation), value) == text


def test_an_annotation_that_is_in_the_way_is_none() -> None:
    for annotation in ("1 / 0", [int], Literal[()], tuple[Order, *tuple[int, ...]]):
        assert serdes_of_result(returning(annotation)) is None
    assert serdes_of_result(print) is None
    assert decode_event(print, "[1]") == [1]


def test_a_lambda_says_nothing() -> None:
    assert serdes_of_result(lambda: Order(1)) is None


def test_functions_are_found_beneath_what_wraps_them() -> None:
    class Shop:
        def order(self, step_context: Any) -> Order:
            return order(step_context, 1)

        def __call__(self, step_context: Any) -> Order:
            return order(step_context, 1)

    @functools.wraps(order)
    def wrapper(*args: Any) -> Any:
        return order(*args)

    ordered = Order(1)
    for func in (
        wrapper,
        functools.partial(order, number=1),
        durable_step(order),
        Bound(wrapper, "order"),
        Shop().order,
        Shop(),
    ):
        assert texts(func, ordered) == '{"id":1,"colour":"red"}'


def test_a_coroutine_function_says_what_it_returns_when_awaited() -> None:
    async def function() -> Order:
        return Order(1)

    assert texts(function, Order(1)) == '{"id":1,"colour":"red"}'


def test_text_annotations_see_what_the_function_sees() -> None:
    @dataclass
    class Local:
        x: int

    def function() -> "list[Local]":
        return [Local(1)]

    assert texts(function, [Local(2)]) == '[{"x":2}]'


def test_the_same_function_has_the_same_serdes() -> None:
    assert serdes_of_result(order) is serdes_of_result(functools.partial(order, number=1))


def on_order(event: Order, context: "DurableContext") -> "set[Colour]":
    return {event.colour}


def test_an_event_becomes_what_the_handler_says() -> None:
    assert decode_event(on_order, '{"id": 1, "more": 2}') == Order(1)
    assert decode_event(durable_execution(on_order), '{"id": 2}') == Order(2)


def test_an_event_that_is_something_else_is_refused_by_place() -> None:
    with pytest.raises(
        ValidationError, match=r"input of 'on_order' .*: \$\.id: expected int, got str 'x'"
    ):
        decode_event(durable_execution(on_order), '{"id": "x"}')
    with pytest.raises(ValidationError, match=r"\$\.id: expected int, got nothing"):
        decode_event(on_order, "")


@pytest.mark.parametrize(
    "annotation", [dict, dict[str, Any], dict[Any, Any], Mapping[str, object], Any, object, "Gone"]
)
def test_a_handler_that_says_nothing_gets_its_event_as_ever(annotation: Any) -> None:
    def handler(event: Any, context: Any) -> Any: ...

    handler.__annotations__["event"] = annotation
    assert decode_event(handler, '[1, {"a": null}]') == [1, {"a": None}]
    assert decode_event(handler, " ") == {}
    assert decode_event(handler, None) == {}


def test_no_input_is_none_where_only_that_fits() -> None:
    def handler(event: Order | None, context: Any) -> None: ...

    assert decode_event(handler, "") is None


def test_an_event_that_is_not_json_fails_the_execution() -> None:
    with pytest.raises(ExecutionError, match="not JSON"):
        decode_event(on_order, "{")


def test_a_result_is_written_as_the_handler_says() -> None:
    text = encode_result(durable_execution(on_order), {Colour.RED})
    assert text == '["red"]'


@pytest.mark.parametrize("annotation", [Any, dict, dict[str, Any], list[int], int | None, Plain])
def test_a_plain_result_is_plain_json_as_ever(annotation: Any) -> None:
    value = {"a": (1, "ü"), "b": None}
    assert encode_result(returning(annotation), value) == json.dumps(value)


def test_a_result_that_is_something_else_is_refused_by_place() -> None:
    with pytest.raises(SerDesError, match=r"result of 'on_order' .*: \$: expected set, got list"):
        encode_result(on_order, [Colour.RED])


def test_an_untyped_result_that_wants_an_annotation_says_so() -> None:
    def handler(event: Any, context: Any): ...  # type: ignore[no-untyped-def]  # noqa: ANN202

    with pytest.raises(SerDesError, match=r"'handler' is not JSON: .* with `-> Order`"):
        encode_result(handler, Order(1))


def batch_of(*results: Any) -> BatchResult[Any]:
    items = [
        BatchItem(index, BatchItemStatus.SUCCEEDED, result) for index, result in enumerate(results)
    ]
    failed = BatchItem[Any](len(items), BatchItemStatus.FAILED, error=ErrorObject(message="no"))
    started = BatchItem[Any](len(items) + 1, BatchItemStatus.STARTED)
    return BatchResult([*items, failed, started], CompletionReason.ALL_COMPLETED)


def test_a_batch_keeps_the_results_of_its_one_function() -> None:
    serdes = serdes_of_batch([order])
    assert serdes is not None
    batch = batch_of(Order(1), Order(2))
    assert serdes.deserialize(serdes.serialize(batch, CONTEXT), CONTEXT) == batch


def test_a_batch_keeps_the_results_of_each_branch_in_its_own_form() -> None:
    plain = returning(Any)
    serdes = serdes_of_batch([plain, order, returning(set[int]), plain, order])
    assert serdes is not None
    batch = batch_of((1, "a"), Order(2), {3})
    text = serdes.serialize(batch, CONTEXT)
    assert serdes.deserialize(text, CONTEXT) == batch
    assert json.loads(text)["all"][1]["result"] == {"id": 2, "colour": "red"}


def test_a_batch_of_plain_functions_keeps_its_form() -> None:
    assert serdes_of_batch([returning(dict), lambda: 1]) is None
    assert serdes_of_batch([]) is None


def test_a_function_may_return_a_typed_batch() -> None:
    batch = batch_of(Order(1))
    serdes = serdes_of_result(returning(BatchResult[Order]))
    assert serdes is not None
    assert serdes.deserialize(serdes.serialize(batch, CONTEXT), CONTEXT) == batch


def test_a_batch_with_a_wrong_result_is_refused_by_place() -> None:
    serdes = serdes_of_batch([order])
    assert serdes is not None
    with pytest.raises(SerDesError, match=r"\$\.all\[1\]\.result: expected Order, got int 3"):
        serdes.serialize(batch_of(Order(1), 3), CONTEXT)
    with pytest.raises(SerDesError, match="expected BatchResult"):
        serdes.deserialize('{"some":1}', CONTEXT)
