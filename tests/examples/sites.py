"""Web sites on this machine, for the examples that read the web."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.ports import HOST


@dataclass
class Reply:
    """The response of a page."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/html"})


class Site:
    """Pages by their paths, each made from the number of its requests so far, from 1."""

    def __init__(self, pages: dict[str, Callable[[int], Reply]]) -> None:
        """Serve these pages; every other path is not found."""
        self.pages = pages
        self.requests: Counter[str] = Counter()

    def reply(self, path: str) -> Reply:
        """Answer one request; the requests for one page are answered one after the other."""
        self.requests[path] += 1
        page = self.pages.get(path)
        return Reply(status=404) if page is None else page(self.requests[path])


@contextmanager
def serving(site: Site) -> Generator[str]:
    """Serve a site; yields its address, without a path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = site.reply(self.path)
            content = reply.text.encode()
            self.send_response(reply.status)
            for name, value in {**reply.headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # the client may have crashed since
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Log nothing."""

    with running(ThreadingHTTPServer((HOST, 0), Handler)) as url:
        yield url


@contextmanager
def serving_folder(folder: Path) -> Generator[str]:
    """Serve files, as `python -m http.server` does; yields its address, without a path."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with running(ThreadingHTTPServer((HOST, 0), handler)) as url:
        yield url


@contextmanager
def running(server: ThreadingHTTPServer) -> Generator[str]:
    """Run a server in a thread; yields its address."""
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
