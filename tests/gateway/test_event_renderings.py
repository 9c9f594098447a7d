"""Renderings of every public event, compared with `rendered_events.json`.

Clients parse these: a difference is a change of the API. After an intended one, rewrite the
file with `python -m tests.gateway.test_event_renderings` and review what changed.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict

from perdure.testing.event_documents import event_document
from perdure_core.events import Event
from perdure_gateway.lambda_api.event_resources import event_json
from perdure_gateway.views.event_messages import event_to_message
from perdure_host.services import NumberedEvent
from tests.gateway.event_cases import event_cases, public_types

RENDERED: Final = Path(__file__).with_name("rendered_events.json")
EXECUTION_ID: Final = "cd" * 16


def renderings(event: Event, *, stored: bool) -> dict[str, Any]:
    """Return the event as each API renders it, with its data and without.

    The testing kit stores nothing outside.
    """
    numbered = NumberedEvent(7, 5_250, event)
    message, short = (event_to_message(numbered, exclude_data=each) for each in (False, True))
    rendered = {
        "grpc": MessageToDict(message, preserving_proto_field_name=True),
        "grpc without data": MessageToDict(short, preserving_proto_field_name=True),
        "lambda": event_json(numbered, EXECUTION_ID, included=True),
        "lambda without data": event_json(numbered, EXECUTION_ID, included=False),
    }
    if not stored:
        rendered["testing"] = msgspec.to_builtins(event_document(7, event, 5_250))
    return rendered


def rendered_events() -> dict[str, dict[str, Any]]:
    return {
        name: renderings(event, stored=name.endswith("stored outside"))
        for name, event in event_cases()
    }


def write_golden_file() -> None:
    lines = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(api)}: {json.dumps(form)}" for api, form in forms.items())
        + "\n}"
        for name, forms in rendered_events().items()
    ]
    RENDERED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


GOLDEN: Final[dict[str, Any]] = json.loads(RENDERED.read_text()) if RENDERED.exists() else {}


def test_the_golden_file_has_every_public_event_bare_and_full() -> None:
    names = {kind.__name__ for kind in public_types()}
    assert len(names) == 26
    assert {f"{name}, {filling}" for name in names for filling in ("bare", "full")} <= GOLDEN.keys()


@pytest.mark.parametrize("name", [name for name, _ in event_cases()])
def test_an_event_is_rendered_as_in_the_golden_file(name: str) -> None:
    event = dict(event_cases())[name]
    rendered = renderings(event, stored=name.endswith("stored outside"))
    assert json.loads(json.dumps(rendered)) == GOLDEN[name]


def test_the_golden_file_holds_nothing_else() -> None:
    assert GOLDEN.keys() == {name for name, _ in event_cases()}


if __name__ == "__main__":
    write_golden_file()
