"""`perdure worker`: serve the functions of modules until told to stop."""

from typing import Annotated, Final

import typer

from perdure_cli.exit_codes import ExitCode
from perdure_cli.screen import complain
from perdure_cli.serve import LogFormat, LogFormatOption
from perdure_cli.session import (
    ServerOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    TokenFileOption,
)
from perdure_cli.signals import run_until_signalled
from perdure_host.channel import connection_settings
from perdure_host.errors import HostError, SettingsError

SLOTS_DEFAULT: Final = 100

ModulesArgument = Annotated[
    list[str],
    typer.Argument(metavar="MODULE…", help="Importable names or .py files with functions in them."),
]


def work(  # noqa: PLR0913, PLR0917 - one parameter for each option
    modules: ModulesArgument,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=10_000, help="Invocations at a time.")
    ] = SLOTS_DEFAULT,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", min=0, max=65_535, help="Serve GET /metrics there."),
    ] = None,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Serve every @durable_execution function of the modules."""
    from perdure_host.telemetry import configure_logging
    from perdure_worker.modules import ModuleLoadError, load_functions
    from perdure_worker.runner import WorkerSettings, run_worker

    configure_logging(log_format.value)
    connection = connection_settings(
        {},
        server=server,
        token_file=token_file,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    settings = WorkerSettings(
        connection=connection, slots=slots, metrics_port=metrics_port, worker_id=None
    )
    try:
        functions = load_functions(modules)
        status = run_until_signalled(lambda stop: run_worker(functions, settings, stop=stop))
    except ModuleLoadError as error:
        complain(str(error))
        raise typer.Exit(ExitCode.INVALID) from None
    except HostError as error:
        complain(str(error))
        wrong = isinstance(error, SettingsError)
        raise typer.Exit(ExitCode.INVALID if wrong else ExitCode.UNAVAILABLE) from None
    raise typer.Exit(status)
