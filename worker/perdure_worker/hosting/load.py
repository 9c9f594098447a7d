"""From files on the command line to hosted functions that a worker can serve.

What hosting needs beyond the light install is imported here and below, and nowhere else.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from perdure.worker_api import RegisteredFunction
from perdure_host.channel import ConnectionSettings
from perdure_host.errors import SettingsError
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.definitions.functions_file import read_functions_file
from perdure_worker.hosting.definitions.variables import region_of
from perdure_worker.hosting.log_lines import LineFormat


class HostingSources(msgspec.Struct, frozen=True, kw_only=True):
    """Which files define the functions, and how they run."""

    functions_files: tuple[Path, ...] = ()
    templates: tuple[Path, ...] = ()
    lambda_endpoint: str | None = None
    line_format: LineFormat = LineFormat.TEXT

    @property
    def empty(self) -> bool:
        """Whether nothing is to be hosted."""
        return not self.functions_files and not self.templates


@contextmanager
def hosting(
    sources: HostingSources, connection: ConnectionSettings, *, slots: int
) -> Generator[list[RegisteredFunction]]:
    """Yield the functions of the files, and run their processes for the length of the block.

    Raises SettingsError for what the files, the URL or the installation do not allow.
    """
    if sources.empty:
        if sources.lambda_endpoint is not None:
            raise SettingsError(
                "a Lambda endpoint needs hosted functions; name a functions file or a SAM template"
            )
        yield []
        return
    try:
        from perdure_worker.hosting.api.forwarding import LambdaProxy  # noqa: PLC0415 - of the extra
        from perdure_worker.hosting.function import LambdaHost  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    definitions = _definitions(sources)
    url = sources.lambda_endpoint
    host = LambdaHost(
        definitions,
        slots=slots,
        environment=os.environ,
        line_format=sources.line_format,
        forwarding=None if url is None else LambdaProxy(url, connection),
    )
    with host:
        yield [*host.functions]


def check_names(functions: Sequence[RegisteredFunction]) -> None:
    """Raise SettingsError when two functions of a worker have one name."""
    names: set[str] = set()
    for function in functions:
        name = function.settings.name
        if name in names:
            raise SettingsError(f"two functions are named {name!r}; one has to change")
        names.add(name)


def _definitions(sources: HostingSources) -> list[HostedDefinition]:
    definitions = [each for path in sources.functions_files for each in read_functions_file(path)]
    if sources.templates:
        try:
            from perdure_worker.hosting.definitions.sam import read_template  # noqa: PLC0415 - of the extra
        except ModuleNotFoundError as error:
            raise _missing(error) from None
        for path in sources.templates:
            region = region_of(os.environ)
            definitions += read_template(path, region=region, environment=os.environ)
    return definitions


def _missing(error: ModuleNotFoundError) -> SettingsError:
    return SettingsError(
        f"{error.name} is missing; hosting Lambda handlers needs: pip install 'perdure[lambda]'"
    )
