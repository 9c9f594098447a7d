"""The page about clients: its examples run, and its tables list what exists."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from perdure import client
from perdure.client import Client, ClientError
from perdure_gateway import status_codes
from perdure_host.server_address import NO_CONNECTION
from tests.system.processes import ROOT, Machine, wait_until

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def program(mark: str) -> str:
    """Return the only program of the page that contains the text."""
    (found,) = [each for each in PROGRAMS if mark in each]
    return str(found)


class FastAPI(Starlette):
    """As much of FastAPI as the page uses."""

    def post(self, path: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            async def endpoint(request: Request) -> Response:
                return JSONResponse(await function(**request.path_params, request=request))

            self.add_route(path, endpoint, methods=["POST"])
            return function

        return decorate


class DjangoResponse:
    """Django's JsonResponse."""

    def __init__(self, data: Any, status: int = 200) -> None:
        self.data = data
        self.status_code = status


def undecorated(view: Any) -> Any:
    return view


MODULES: dict[str, dict[str, Any]] = {
    "fastapi": {"FastAPI": FastAPI, "HTTPException": HTTPException, "Request": Request},
    "django.http": {"JsonResponse": DjangoResponse},
    "django.views.decorators.csrf": {"csrf_exempt": undecorated},
    "django.views.decorators.http": {"require_POST": undecorated},
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder: Path = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(program("def order(event, context)"))
    with Machine(folder) as running:
        running.start_server()
        running.start_worker(folder / "shop.py")
        running.wait_for_worker("order")
        yield running


@pytest.fixture
def run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Return what runs a program, with stand-ins for frameworks, against the server."""
    monkeypatch.setenv("PERDURE_SERVER", machine.server_address)
    for name, members in MODULES.items():
        for end in range(1, name.count(".") + 2):
            parent = ".".join(name.split(".")[:end])
            monkeypatch.setitem(sys.modules, parent, sys.modules.get(parent) or ModuleType(parent))
        vars(sys.modules[name]).update(members)

    def execute(text: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(compile(text, "client.md", "exec"), names)
        return names

    return execute


def open_callback(perdure: Client, arn: str) -> str:
    wait_until(lambda: bool(perdure.get(arn).open_callbacks), "the callback is open")
    (callback,) = perdure.get(arn).open_callbacks
    return callback.callback_id


def check_application(
    machine: Machine, order_id: str, post: Callable[[str, str], tuple[int, Any]]
) -> None:
    """Place an order twice, and have its payment arrive twice, and then another."""
    first, second = (post(f"/orders/{order_id}", "") for _ in range(2))
    assert (first[0], first[1]["new"], second[1]["new"]) == (200, True, False)
    with machine.client() as perdure:
        path = f"/payments/{open_callback(perdure, first[1]['arn'])}"
        for _ in range(2):
            assert post(path, '{"amount": 5}')[0] == 200
            assert perdure.result(first[1]["arn"], timeout_s=60) == {"id": order_id, "paid": 5}
    assert post(path, '{"amount": 6}')[0] == 409
    assert post("/payments/nonsense", "{}")[0] == 404


def test_the_example_for_fastapi_works(
    machine: Machine, run: Callable[[str], dict[str, Any]]
) -> None:
    with TestClient(run(program("from fastapi"))["app"]) as web:

        def post(path: str, body: str) -> tuple[int, Any]:
            answer = web.post(path, content=body)
            return answer.status_code, answer.json() if answer.is_success else None

        check_application(machine, "17", post)


def test_the_example_for_django_works(
    machine: Machine, run: Callable[[str], dict[str, Any]]
) -> None:
    views = run(program("from django"))

    def post(path: str, body: str) -> tuple[int, Any]:
        view, argument = path.strip("/").split("/")
        request = SimpleNamespace(body=body.encode())
        answer = views[{"orders": "place", "payments": "paid"}[view]](request, argument)
        assert json.dumps(answer.data)
        return answer.status_code, answer.data

    try:
        check_application(machine, "18", post)
    finally:
        views["perdure"]().close()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, of those rows that begin with code."""
    section = re.split(r"^##+ ", PAGE.partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| `"]


def test_every_class_is_listed_with_its_code() -> None:
    listed = {name.strip("`"): code.strip("`") for name, code, _ in rows("\n## Errors\n")}
    public = [getattr(client, name) for name in client.__all__]
    errors = [kind for kind in public if issubclass(kind, ClientError)]
    assert listed == {kind.__name__: kind.code for kind in errors}


def test_every_code_of_a_server_is_listed_with_its_class() -> None:
    listed = {code.strip("`"): kinds for code, kinds, _ in rows("\n### Codes\n")}
    reasons: dict[type[Exception], str] = vars(status_codes)["_REASONS"]
    assert listed.keys() == {*reasons.values(), NO_CONNECTION}
    for kind, reason in reasons.items():
        status = status_codes.status_of(kind("why"))
        raised = client.errors.client_error(status.code, status.message, status.reason)
        assert listed[reason] == f"`{type(raised).__name__}`"
