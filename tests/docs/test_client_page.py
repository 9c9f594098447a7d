"""The page about clients: its examples run, and its tables list what exists."""

import contextlib
import importlib
import json
import re
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import uvicorn

from perdure import client
from perdure.client import Client, ClientError
from perdure.client.errors import client_error
from perdure_gateway import status_codes
from perdure_host.server_address import NO_CONNECTION
from tests.ports import HOST, HeldPort
from tests.system.processes import ROOT, Machine, wait_until

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
START_S_MAX: Final = 30.0


def program(mark: str) -> str:
    """Return the only program of the page that contains the text."""
    (found,) = [each for each in PROGRAMS if mark in each]
    return str(found)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder: Path = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(program("def order(event, context)"))
    with Machine(folder) as running:
        running.start_server()
        running.start_worker(folder / "shop.py")
        running.wait_for_worker("order")
        yield running


def run(machine: Machine, monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, Any]:
    """Run a program of the page against the server; return its names."""
    monkeypatch.setenv("PERDURE_SERVER", machine.server_address)
    # FastAPI looks annotations up in the module of a function.
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(text, "client.md", "exec"), names)
    return names


@contextlib.contextmanager
def served(application: Any) -> Generator[str]:
    """Serve an ASGI application from a thread; yield its URL."""
    with HeldPort() as port:
        config = uvicorn.Config(application, host=HOST, port=port.number, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started, "the application is served", within_s=START_S_MAX)
            yield f"http://{HOST}:{port.number}"
        finally:
            server.should_exit = True
            thread.join(START_S_MAX)


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


def test_the_example_for_fastapi_works(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    application = run(machine, monkeypatch, program("from fastapi"))["app"]
    with served(application) as url, httpx.Client(base_url=url, trust_env=False) as web:

        def post(path: str, body: str) -> tuple[int, Any]:
            answer = web.post(path, content=body)
            return answer.status_code, answer.json()

        check_application(machine, "17", post)


def test_the_example_for_django_works(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("django.conf").settings.configure(DEFAULT_CHARSET="utf-8")
    requests = importlib.import_module("django.test").RequestFactory()
    views = run(machine, monkeypatch, program("from django"))

    def post(path: str, body: str) -> tuple[int, Any]:
        view, argument = path.strip("/").split("/")
        request = requests.post(path, data=body, content_type="application/json")
        answer = views[{"orders": "place", "payments": "paid"}[view]](request, argument)
        return answer.status_code, json.loads(answer.content)

    try:
        check_application(machine, "18", post)
    finally:
        views["perdure"]().close()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, of those rows that begin with code."""
    section = re.split(r"^##+ ", PAGE.partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line[:3] == "| `"]
    return [line.strip("| ").split(" | ") for line in lines if not line.startswith("| `code`")]


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
        raised = client_error(status.code, status.message, status.reason)
        assert listed[reason] == f"`{type(raised).__name__}`"
