"""`perdure worker`: serves functions of Python modules and hosts Lambda handlers."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_error
from perdure_cli.server import LogFormat, LogFormatOption
from perdure_cli.session import (
    ServerOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    TokenFileOption,
)
from perdure_cli.signals import run_until_signalled
from perdure_host.channel import ConnectionSettings, connection_settings
from perdure_host.errors import HostError, SettingsError

if TYPE_CHECKING:
    from perdure_worker.hosting.load import HostingSources
    from perdure_worker.metrics.server import MetricsPort
    from perdure_worker.settings import WorkerSettings

SLOTS_DEFAULT: Final = 100
GRACE_S_DEFAULT: Final = 10.0

ModulesArgument = Annotated[
    list[str],
    typer.Argument(metavar="MODULE…", help="Importable names or .py files with functions in them."),
]


OptionalModulesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODULE…", help="Importable names or .py files with functions in them."),
]
FunctionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--functions",
        metavar="FILE.toml",
        help="Host the Lambda handlers that this file lists.",
        rich_help_panel="Lambda",
    ),
]
SamOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--sam",
        metavar="TEMPLATE.yaml",
        help="Host the functions of an AWS SAM template.",
        rich_help_panel="Lambda",
    ),
]
LambdaEndpointOption = Annotated[
    str | None,
    typer.Option(
        "--lambda-endpoint",
        envvar="PERDURE_LAMBDA_ENDPOINT",
        metavar="URL",
        help="The Lambda API of a server, for calls of hosted handlers other than checkpoints.",
        rich_help_panel="Lambda",
    ),
]
SlotsOption = Annotated[
    int, typer.Option("--slots", min=1, max=10_000, help="How many invocations run at a time.")
]
GraceOption = Annotated[
    float,
    typer.Option(
        "--grace",
        envvar="PERDURE_GRACE",
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="How long what runs may go on after SIGTERM, before it is handed back.",
    ),
]
MetricsPortOption = Annotated[
    int | None,
    typer.Option("--metrics-port", min=0, max=65_535, help="Serve /metrics on this port."),
]
MetricsHostOption = Annotated[
    str, typer.Option("--metrics-host", help="The address of the metrics port.")
]
AllowedHostsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host",
        metavar="NAME",
        help="A further name by which the metrics port may be called.",
    ),
]
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure", help="Let other machines read metrics without a token and TLS."),
]


def work(  # noqa: PLR0913, PLR0917 - one parameter for each option
    modules: OptionalModulesArgument = None,
    functions_files: FunctionsOption = None,
    templates: SamOption = None,
    lambda_endpoint: LambdaEndpointOption = None,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    slots: SlotsOption = SLOTS_DEFAULT,
    grace: GraceOption = GRACE_S_DEFAULT,
    metrics_port: MetricsPortOption = None,
    metrics_host: MetricsHostOption = "127.0.0.1",
    allowed_hosts: AllowedHostsOption = None,
    insecure: InsecureOption = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Serve the functions of Python modules, and host Lambda handlers."""
    from perdure.worker_api import current_log_fields
    from perdure_host.telemetry import configure_logging
    from perdure_worker.hosting.load import HostingSources
    from perdure_worker.hosting.log_lines import LineFormat
    from perdure_worker.runner import WorkerSettings

    configure_logging(log_format.value, fields=current_log_fields)
    sources = HostingSources(
        functions_files=tuple(functions_files or ()),
        templates=tuple(templates or ()),
        lambda_endpoint=lambda_endpoint,
        line_format=LineFormat(log_format.value),
    )
    if not modules and sources.empty:
        raise typer.BadParameter("at least one MODULE, --functions or --sam is required")
    connection = connection_settings(
        {},
        server=server,
        token_file=token_file,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    with _exit_on_error():
        settings = WorkerSettings(
            connection=connection,
            slots=slots,
            grace_s=grace,
            metrics=_metrics_port(
                metrics_host,
                metrics_port,
                connection,
                insecure=insecure,
                allowed_hosts=allowed_hosts or [],
            ),
        )
        status = _serve(modules or [], sources, settings)
    raise typer.Exit(status)


def _serve(modules: list[str], sources: "HostingSources", settings: "WorkerSettings") -> int:
    from perdure_worker.hosting.load import check_names, hosting
    from perdure_worker.modules import load_functions
    from perdure_worker.runner import run_worker

    loaded = load_functions(modules)
    with hosting(sources, settings.connection, slots=settings.slots) as hosted:
        functions = [*loaded, *hosted]
        check_names(functions)
        return run_until_signalled(lambda stop: run_worker(functions, settings, stop=stop))


@contextmanager
def _exit_on_error() -> Generator[None]:
    """Turn expected failures into a message and an exit status."""
    from perdure_worker.modules import ModuleLoadError

    try:
        yield
    except ModuleLoadError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.INVALID) from None
    except HostError as error:
        print_error(str(error))
        wrong = isinstance(error, SettingsError)
        raise typer.Exit(ExitCode.INVALID if wrong else ExitCode.UNAVAILABLE) from None


def _metrics_port(
    host: str,
    port: int | None,
    connection: ConnectionSettings,
    *,
    insecure: bool,
    allowed_hosts: list[str],
) -> "MetricsPort | None":
    """Return how metrics are served; the worker's own token and certificate protect them."""
    from perdure_host.access.bearer_tokens import read_tokens
    from perdure_host.access.host_names import HostNames
    from perdure_host.credentials import certificate_names, tls_files
    from perdure_host.listen import Address, check_exposure
    from perdure_worker.metrics.server import MetricsPort

    if port is None:
        return None
    address = Address(host, port)
    token_file, certificate = connection.token_file, connection.tls_cert
    check_exposure(address, token_file=token_file, tls_cert=certificate, insecure=insecure)
    tls = None if certificate is None else tls_files(certificate, connection.tls_key, None)
    return MetricsPort(
        address,
        HostNames(host, allowed_hosts, certified=certificate_names(tls)),
        None if token_file is None else read_tokens(token_file),
        tls,
    )
