"""Functions to host, from a template of the AWS Serverless Application Model.

Read are the resources `AWS::Serverless::Function` with what `Globals.Function` says for all of
them. Properties that concern a deployment in an account are passed over; ones that the model does
not have are refused. A variable that refers to something outside of the template, such as a table,
takes its value from the worker's own environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from perdure.worker_api import FunctionSettings
from perdure_core.limits import (
    EXECUTION_TIMEOUT_S_MAX,
    RETENTION_DAYS_DEFAULT,
    RETENTION_DAYS_MAX,
)
from perdure_host.errors import SettingsError
from perdure_worker.hosting.definitions.definition import (
    MEMORY_MB_DEFAULT,
    SAM_TIMEOUT_S_DEFAULT,
    TIMEOUT_S_MAX,
    HostedDefinition,
)
from perdure_worker.hosting.definitions.functions_file import (
    check_count,
    check_environment,
    check_handler,
    check_name,
)
from perdure_worker.hosting.definitions.sam_values import (
    ACCOUNT_ID,
    Absent,
    References,
    Unresolved,
    read_yaml,
)
from perdure_worker.hosting.definitions.toml_tables import Table, preview_of

FUNCTION: Final = "AWS::Serverless::Function"
MEMORY_MB_LEAST: Final = 128
MEMORY_MB_MAX: Final = 32_768

# What says how a function is deployed, called, paid for or watched in an account (SAM, resource
# and property reference, AWS::Serverless::Function).
_PASSED_OVER: Final = (
    *("Architectures", "AssumeRolePolicyDocument", "AutoPublishAlias"),
    *("AutoPublishAliasAllProperties", "AutoPublishCodeSha256", "CapacityProviderConfig"),
    *("CodeSigningConfigArn", "DeadLetterQueue", "DeploymentPreference", "Description"),
    *("EphemeralStorage", "EventInvokeConfig", "Events", "FileSystemConfigs"),
    *("FunctionScalingConfig", "FunctionUrlConfig", "KmsKeyArn", "Layers", "LoggingConfig"),
    *("PermissionsBoundary", "Policies", "PropagateTags", "ProvisionedConcurrencyConfig"),
    *("PublishToLatestPublished", "RecursiveLoop", "ReservedConcurrentExecutions", "Role"),
    *("RolePath", "RuntimeManagementConfig", "SnapStart", "SourceKMSKeyArn", "Tags", "Tracing"),
    *("VersionDeletionPolicy", "VersionDescription", "VpcConfig"),
)


def read_template(
    path: Path, *, region: str, environment: Mapping[str, str]
) -> list[HostedDefinition]:
    """Return the functions of a template. Raises SettingsError.

    `region` is what AWS::Region stands for; `environment` has the variables of the worker.
    """
    template = Table.of(str(path), read_yaml(path))
    resources = Table.of(f"{path}: Resources", template.value("Resources") or {})
    defaults = _global_properties(path, template)
    raw = {
        name: _merged(defaults, _properties(path, name, resource))
        for name in resources.names()
        if _type(resource := resources.value(name)) == FUNCTION
    }
    check_count(str(path), len(raw))
    parameters = _parameters(path, template, region)
    names = _function_names(path, raw, References(parameters, {}))
    references = References(parameters, names)
    return [
        _Reader(path, logical_id, properties, references, environment).definition(names[logical_id])
        for logical_id, properties in raw.items()
    ]


class _Reader:
    """Reads one resource."""

    def __init__(
        self,
        path: Path,
        logical_id: str,
        properties: dict[str, object],
        references: References,
        environment: Mapping[str, str],
    ) -> None:
        self._path = path
        self._references = references
        self._own = environment
        where = _where(path, logical_id)
        variables = _variables(where, properties.pop("Environment", None))
        self._variables = Table.of(f"{where}.Environment.Variables", variables)
        for key in _PASSED_OVER:
            properties.pop(key, None)
        self._table = Table(where, self._resolved(where, properties))

    def definition(self, name: str) -> HostedDefinition:
        """Return the function. Raises SettingsError."""
        table = self._table
        table.has("FunctionName")
        self._check_package()
        handler = table.text("Handler")
        check_handler(table, "Handler", handler)
        config = table.table("DurableConfig")
        config.has("KMSKeyArn")
        tenancy = table.table("TenancyConfig")
        settings = FunctionSettings(
            name=name,
            execution_timeout_s=config.number(
                "ExecutionTimeout",
                EXECUTION_TIMEOUT_S_MAX,
                least=1,
                most=EXECUTION_TIMEOUT_S_MAX,
            ),
            retention_days=config.number(
                "RetentionPeriodInDays", RETENTION_DAYS_DEFAULT, least=1, most=RETENTION_DAYS_MAX
            ),
            tenant_isolation=_is_isolated(tenancy),
        )
        definition = HostedDefinition(
            settings=settings,
            handler=handler,
            folder=self._folder(),
            timeout_s=table.number("Timeout", SAM_TIMEOUT_S_DEFAULT, least=1, most=TIMEOUT_S_MAX),
            durable=table.has("DurableConfig"),
            memory_mb=table.number(
                "MemorySize", MEMORY_MB_DEFAULT, least=MEMORY_MB_LEAST, most=MEMORY_MB_MAX
            ),
            environment=self._environment(),
        )
        for read in (config, tenancy, table):
            read.close()
        return definition

    def _check_package(self) -> None:
        table = self._table
        if table.text("PackageType", "Zip") != "Zip":
            raise table.wrong("PackageType", "only Zip can be hosted")
        if table.has("InlineCode"):
            raise SettingsError(f"{table.where}: InlineCode cannot be hosted; put it into a file")
        if not table.text("Runtime", "python").startswith("python"):
            raise table.wrong("Runtime", "only python can be hosted")

    def _folder(self) -> str:
        table = self._table
        code_uri = Path(table.text("CodeUri", "."))
        folder = (self._path.resolve().parent / code_uri).resolve()
        if not folder.is_dir():
            raise table.wrong("CodeUri", f"a folder is expected, and {folder} is none")
        return str(folder)

    def _environment(self) -> dict[str, str]:
        table = self._variables
        environment: dict[str, str] = {}
        for name in table.names():
            value = self._variable(table, name)
            if value is not None:
                environment[name] = value
        check_environment(table.where, environment)
        return environment

    def _variable(self, table: Table, name: str) -> str | None:
        try:
            value = self._references.resolved(table.value(name))
        except Absent:
            return None
        except Unresolved as error:
            if name in self._own:
                return self._own[name]
            raise SettingsError(
                f"{table.where}: {name} refers to {error}."
                f" Set {name} in the environment of the worker"
            ) from None
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return str(value)
        raise table.wrong(name, "a text is expected")

    def _resolved(self, where: str, properties: dict[str, object]) -> dict[str, object]:
        resolved: dict[str, object] = {}
        for key, value in properties.items():
            try:
                resolved[key] = _number(key, self._references.resolved(value))
            except Absent:
                continue
            except Unresolved as error:
                raise SettingsError(f"{where}: {key} refers to {error}") from None
        return resolved


def _global_properties(path: Path, template: Table) -> dict[str, object]:
    where = f"{path}: Globals"
    functions = Table.of(where, template.value("Globals") or {}).value("Function")
    return _copied(Table.of(f"{where}.Function", functions or {}))


def _properties(path: Path, name: str, resource: object) -> dict[str, object]:
    properties = Table.of(f"{path}: Resources.{name}", resource).value("Properties")
    return _copied(Table.of(_where(path, name), properties or {}))


def _where(path: Path, logical_id: str) -> str:
    return f"{path}: Resources.{logical_id}.Properties"


def _copied(table: Table) -> dict[str, object]:
    return {name: table.value(name) for name in table.names()}


def _merged(defaults: dict[str, object], own: dict[str, object]) -> dict[str, object]:
    """Return what a function has: its own, and the rest of Globals; maps are merged in depth."""
    merged = dict(defaults)
    for key, value in own.items():
        default = merged.get(key)
        if isinstance(default, dict) and isinstance(value, dict):
            merged[key] = _merged(
                cast("dict[str, object]", default), cast("dict[str, object]", value)
            )
        else:
            merged[key] = value
    return merged


def _type(resource: object) -> object:
    return cast("dict[str, object]", resource).get("Type") if isinstance(resource, dict) else None


def _parameters(path: Path, template: Table, region: str) -> dict[str, str]:
    parameters = Table.of(f"{path}: Parameters", template.value("Parameters") or {})
    known = {
        "AWS::AccountId": ACCOUNT_ID,
        "AWS::Partition": "aws",
        "AWS::Region": region,
        "AWS::StackName": path.stem,
        "AWS::URLSuffix": "amazonaws.com",
    }
    for name in parameters.names():
        default = Table.of(f"{path}: Parameters.{name}", parameters.value(name)).value("Default")
        if isinstance(default, bool):
            known[name] = str(default).lower()
        elif isinstance(default, str | int | float):
            known[name] = str(default)
    return known


def _function_names(
    path: Path, raw: Mapping[str, dict[str, object]], references: References
) -> dict[str, str]:
    names: dict[str, str] = {}
    for logical_id, properties in raw.items():
        where = f"{_where(path, logical_id)}: FunctionName"
        try:
            name = references.resolved(properties.get("FunctionName", logical_id))
        except Absent:
            name = logical_id
        except Unresolved as error:
            raise SettingsError(f"{where} refers to {error}") from None
        if not isinstance(name, str):
            raise SettingsError(f"{where} is {preview_of(name)}; a text is expected")
        check_name(where, name)
        if name in names.values():
            raise SettingsError(f"{where} is {name!r}, as is that of another function")
        names[logical_id] = name
    return names


def _variables(where: str, environment: object) -> object:
    table = Table.of(f"{where}.Environment", {} if environment is None else environment)
    variables = table.value("Variables")
    table.close()
    return {} if variables is None else variables


def _is_isolated(tenancy: Table) -> bool:
    if not tenancy.names():
        return False
    if tenancy.text("TenantIsolationMode") != "PER_TENANT":
        raise tenancy.wrong("TenantIsolationMode", "PER_TENANT is expected")
    return True


def _number(key: str, value: object) -> object:
    """Return a parameter's text as a number where one is expected: defaults are always text."""
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {name: _number(name, item) for name, item in entries.items()}
    is_number = key in ("Timeout", "MemorySize", "ExecutionTimeout", "RetentionPeriodInDays")
    return int(value) if is_number and isinstance(value, str) and value.isdecimal() else value
