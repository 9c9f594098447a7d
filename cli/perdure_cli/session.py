"""Shared parts of client commands: connection options, output format, and errors.

`connected` adds the options to a command once, instead of six parameters to each; the command
receives a Session in their place.
"""

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer

from perdure.client import Client
from perdure.client.errors import ClientError, UnauthenticatedError, UnavailableError
from perdure_cli.exit_codes import ExitCode, exit_code
from perdure_cli.output import print_error, print_status
from perdure_host.channel import SERVER_DEFAULT

# Short for a person at a terminal, and long enough for a server to restart.
PATIENCE_S: Final = 6.0

_Parameters = ParamSpec("_Parameters")


class OutputFormat(StrEnum):
    """Format of a command's output."""

    TEXT = "text"
    JSON = "json"


ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="PERDURE_SERVER",
        metavar="HOST:PORT",
        help=f"The server to connect to; {SERVER_DEFAULT} by default.",
        rich_help_panel="Connection",
    ),
]
TokenFileOption = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        envvar="PERDURE_TOKEN_FILE",
        metavar="FILE",
        help="A file with the bearer token.",
        rich_help_panel="Connection",
    ),
]
TlsCaOption = Annotated[
    str | None,
    typer.Option(
        "--tls-ca",
        envvar="PERDURE_TLS_CA",
        metavar="FILE",
        help="PEM: the CAs to trust; turns TLS on.",
        rich_help_panel="Connection",
    ),
]
TlsCertOption = Annotated[
    str | None,
    typer.Option(
        "--tls-cert",
        envvar="PERDURE_TLS_CERT",
        metavar="FILE",
        help="PEM: the client certificate.",
        rich_help_panel="Connection",
    ),
]
TlsKeyOption = Annotated[
    str | None,
    typer.Option(
        "--tls-key",
        envvar="PERDURE_TLS_KEY",
        metavar="FILE",
        help="PEM: the key of that certificate.",
        rich_help_panel="Connection",
    ),
]
OutputOption = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", help="`text` for people, `json` for programs."),
]

_OPTIONS: Final[tuple[tuple[str, Any, Any], ...]] = (
    ("output", OutputOption, OutputFormat.TEXT),
    ("server", ServerOption, None),
    ("token_file", TokenFileOption, None),
    ("tls_ca", TlsCaOption, None),
    ("tls_cert", TlsCertOption, None),
    ("tls_key", TlsKeyOption, None),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Connection options and output format of one command."""

    output: OutputFormat
    server: str | None
    token_file: str | None
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None

    @property
    def for_programs(self) -> bool:
        """Return whether the output is JSON."""
        return self.output is OutputFormat.JSON

    def client(self) -> Client:
        """Open a client."""
        return Client(
            self.server,
            token_file=self.token_file,
            tls_ca=self.tls_ca,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            patience_s=PATIENCE_S,
        )


def connected(
    command: Callable[Concatenate[Session, _Parameters], None],
) -> Callable[..., None]:
    """Return the command with the options of a session, which it receives as first argument."""

    @wraps(command)
    def command_with_session(*arguments: Any, **options: Any) -> None:
        session = Session(**{name: options.pop(name) for name, _, _ in _OPTIONS})
        with exit_on_error(session.server):
            command(session, *arguments, **options)

    own = list(inspect.signature(command).parameters.values())[1:]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, kind, default in _OPTIONS
    ]
    signature = inspect.Signature([*own, *added])
    command_with_session.__dict__["__signature__"] = signature
    command_with_session.__annotations__ = {
        each.name: each.annotation for each in signature.parameters.values()
    }
    return command_with_session


@contextmanager
def exit_on_error(server: str | None) -> Generator[None]:
    """Turn an error of the client into a message and an exit status, without a stack trace."""
    try:
        yield
    except ClientError as error:
        print_error(str(error), _hint(error, server or SERVER_DEFAULT))
        raise typer.Exit(exit_code(error)) from None
    except KeyboardInterrupt:
        print_status("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _hint(error: ClientError, server: str) -> str | None:
    match error:
        case UnavailableError():
            return f"Is a server running at {server}? `perdure server` or `perdure dev` starts one."
        case UnauthenticatedError():
            return "Pass the token with --token-file or PERDURE_TOKEN_FILE."
        case _:
            return None
