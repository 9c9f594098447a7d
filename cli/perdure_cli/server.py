"""`perdure server` and `perdure migrate`: run a node, and migrate its database schema.

The server's libraries are imported here only when one of these commands runs.
"""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from perdure_cli.database_options import DatabaseFileOption, DatabaseOption, database_url
from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_error, print_status
from perdure_cli.signals import run_until_signalled
from perdure_host.channel import SERVER_DEFAULT
from perdure_host.errors import HostError, SchemaTooNew, SchemaTooOld, SettingsError

if TYPE_CHECKING:
    from perdure_cli.node import NodeAddresses, NodeSettings

HTTP_DEFAULT: Final = "127.0.0.1:7601"
CLAIM_WAIT_S_DEFAULT: Final = 2.0


class LogFormat(StrEnum):
    """Format of the log."""

    TEXT = "text"
    JSON = "json"


GrpcOption = Annotated[
    str,
    typer.Option("--grpc", metavar="HOST:PORT", help="The address that clients and workers call."),
]
HttpOption = Annotated[
    str,
    typer.Option(
        "--http", metavar="HOST:PORT", help="The address of /metrics, /healthz and the Lambda API."
    ),
]
AllowedHostsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host",
        metavar="NAME",
        help="A further name by which the HTTP port may be called; *.NAME for names below it.",
    ),
]
TokensOption = Annotated[
    str | None,
    typer.Option(
        "--token-file", metavar="FILE", help="Bearer tokens; callers must send one of them."
    ),
]
AccessKeyFileOption = Annotated[
    str | None,
    typer.Option(
        "--access-key-file",
        metavar="FILE",
        help="TOML: keys that may sign calls of the Lambda API.",
    ),
]
QualifiedNamesOption = Annotated[
    bool,
    typer.Option(
        "--require-qualified-names",
        help="Refuse calls of the Lambda API that invoke NAME instead of NAME:$LATEST.",
    ),
]
StatusEventsOption = Annotated[
    str | None,
    typer.Option(
        "--status-events",
        metavar="FILE",
        help="Append a line of JSON for every start and end of an execution.",
    ),
]
ClaimWaitOption = Annotated[
    float,
    typer.Option(
        "--claim-wait",
        metavar="SECONDS",
        min=0.1,
        max=600,
        help="How long workers may claim what they run after a restart; each claim prolongs it.",
    ),
]
AdvertiseOption = Annotated[
    str | None,
    typer.Option(
        "--advertise",
        metavar="HOST:PORT",
        help="The address by which clients reach the gRPC port; a standby server names it.",
    ),
]
ClientCaOption = Annotated[
    str | None,
    typer.Option(
        "--tls-ca", metavar="FILE", help="PEM: require client certificates signed by these CAs."
    ),
]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="`text` for people, `json` for programs.")
]


def serve(  # noqa: PLR0913, PLR0917 - one parameter for each option
    context: typer.Context,
    db: DatabaseOption = None,
    db_file: DatabaseFileOption = None,
    grpc: GrpcOption = SERVER_DEFAULT,
    http: HttpOption = HTTP_DEFAULT,
    allowed_hosts: AllowedHostsOption = None,
    token_file: TokensOption = None,
    access_key_file: AccessKeyFileOption = None,
    tls_cert: Annotated[
        str | None,
        typer.Option("--tls-cert", metavar="FILE", help="PEM: the server's certificate."),
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option("--tls-key", metavar="FILE", help="PEM: the key of that certificate."),
    ] = None,
    tls_ca: ClientCaOption = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Let other machines connect without a token and TLS."),
    ] = False,
    require_qualified_names: QualifiedNamesOption = False,
    status_events: StatusEventsOption = None,
    claim_wait: ClaimWaitOption = CLAIM_WAIT_S_DEFAULT,
    advertise: AdvertiseOption = None,
    node_name: Annotated[
        str | None,
        typer.Option("--node-name", help="Unique in the cluster, and the same after a restart."),
    ] = None,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Migrate an older schema first.")
    ] = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run a server on a SQLite file or on PostgreSQL."""
    with exit_on_error():
        from perdure_cli.node import NodeSettings

        settings = NodeSettings(
            db_url=database_url(context, db, db_file),
            grpc_address=grpc,
            http_address=http,
            advertised=advertise,
            allowed_hosts=tuple(allowed_hosts or ()),
            node_name=node_name or default_node_name(grpc),
            token_file=token_file,
            access_key_file=access_key_file,
            require_qualified_names=require_qualified_names,
            status_events=status_events,
            claim_wait_ms=round(claim_wait * 1_000),
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_ca=tls_ca,
            insecure=insecure,
            migrate=migrate,
            log_format=log_format.value,
        )
        raise typer.Exit(run_until_signalled(lambda stop: _run_node(settings, stop)))


def migrate(
    context: typer.Context, db: DatabaseOption = None, db_file: DatabaseFileOption = None
) -> None:
    """Migrate the schema of a database to this version."""
    with exit_on_error():
        from perdure_host.sql import migrate_store

        before, after = asyncio.run(migrate_store(database_url(context, db, db_file)))
    if before == after:
        print_status(f"the schema is up to date: {after}")
    else:
        print_status(f"schema {before or '(none)'} → {after}")


def default_node_name(grpc_address: str) -> str:
    """Return a name that is the same after a restart and unique among a machine's servers."""
    return f"{socket.gethostname()}-{grpc_address.rpartition(':')[2]}"


@contextmanager
def exit_on_error() -> Generator[None]:
    """Turn expected failures into a message and an exit status."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0].startswith("perdure"):
            raise
        print_error(f"{error.name} is not installed; run: pip install 'perdure[server]'")
        raise typer.Exit(ExitCode.INVALID) from None
    except HostError as error:
        print_error(str(error))
        raise typer.Exit(_exit_code(error)) from None


async def _run_node(settings: "NodeSettings", stop: asyncio.Event) -> int:
    from perdure_cli.node import run_node

    return await run_node(settings, stop=stop, ready=_ignore_addresses)


def _ignore_addresses(_addresses: "NodeAddresses") -> None:
    """Print nothing: the node's log already holds the addresses it listens on."""


def _exit_code(error: HostError) -> ExitCode:
    """Return INVALID if the operator must change something, UNAVAILABLE if a retry may help."""
    if isinstance(error, SettingsError | SchemaTooNew | SchemaTooOld):
        return ExitCode.INVALID
    return ExitCode.UNAVAILABLE
