"""Functions from a template of AWS SAM: values read, resolved, ignored and refused."""

from pathlib import Path
from typing import Any

import pytest

from perdure.worker_api import FunctionSettings
from perdure_host.errors import SettingsError
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.definitions.sam import read_template

WHOLE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Description: Orders
Parameters:
  Stage: {Type: String, Default: dev}
  Seconds: {Type: Number, Default: "45"}
  Secret: {Type: String}
Conditions:
  Never: !Equals [1, 2]
Globals:
  Api: {Cors: "'*'"}
  Function:
    Runtime: python3.13
    Timeout: 20
    MemorySize: 512
    Environment:
      Variables:
        STAGE: !Ref Stage
        SHARED: globally
Resources:
  Orders:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: python3.13}
    Properties:
      FunctionName: !Sub "${Stage}-orders"
      CodeUri: src/orders/
      Handler: app.lambda_handler
      Timeout: !Ref Seconds
      DurableConfig:
        ExecutionTimeout: 86400
        RetentionPeriodInDays: 7
      TenancyConfig:
        TenantIsolationMode: PER_TENANT
      Policies: [AWSLambdaBasicDurableExecutionRolePolicy]
      Events:
        Api: {Type: Api, Properties: {Path: /, Method: get}}
      Environment:
        Variables:
          SHARED: mine
          PAYMENTS: !Ref Payments
          PAYMENTS_ARN: !GetAtt Payments.Arn
          PAYMENTS_LATEST: !Sub "${Payments.Arn}:$LATEST"
          OWN: !Sub ["${x}-${!y}-${AWS::Region}", {x: !Ref Stage}]
          MISSING: !Ref AWS::NoValue
          NUMBER: 5
          FLAG: true
  Payments:
    Type: AWS::Serverless::Function
    Properties:
      Handler: payments.handler
      CodeUri: src
  Table:
    Type: AWS::DynamoDB::Table
Outputs:
  Arn: {Value: !GetAtt Orders.Arn}
"""
PAYMENTS_ARN = "arn:perdure:lambda:default:000000000000:function:Payments"


def written(folder: Path, text: str) -> Path:
    (folder / "src" / "orders").mkdir(parents=True, exist_ok=True)
    path = folder / "template.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, **environment: str) -> list[HostedDefinition]:
    return read_template(path, region="eu-west-1", environment=environment)


def test_a_template_says_what_the_file_would(tmp_path: Path) -> None:
    orders, payments = read(written(tmp_path, WHOLE))
    assert orders == HostedDefinition(
        settings=FunctionSettings(
            "dev-orders", execution_timeout_s=86_400, retention_days=7, tenant_isolation=True
        ),
        handler="app.lambda_handler",
        folder=str(tmp_path.resolve() / "src" / "orders"),
        timeout_s=45,
        durable=True,
        memory_mb=512,
        environment={
            "STAGE": "dev",
            "SHARED": "mine",
            "PAYMENTS": "Payments",
            "PAYMENTS_ARN": PAYMENTS_ARN,
            "PAYMENTS_LATEST": f"{PAYMENTS_ARN}:$LATEST",
            "OWN": "dev-${y}-eu-west-1",
            "NUMBER": "5",
            "FLAG": "true",
        },
    )
    assert payments == HostedDefinition(
        settings=FunctionSettings(
            "Payments", execution_timeout_s=31_622_400, retention_days=14, tenant_isolation=False
        ),
        handler="payments.handler",
        folder=str(tmp_path.resolve() / "src"),
        timeout_s=20,
        durable=False,
        memory_mb=512,
        environment={"STAGE": "dev", "SHARED": "globally"},
    )


def test_json_is_a_template_too(tmp_path: Path) -> None:
    text = (
        '{"Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": {"Handler": "a.b",'
        ' "Environment": {"Variables": {"SELF": {"Ref": "F"}, "ARN": {"Fn::GetAtt": ["F", "Arn"]},'
        ' "SUB": {"Fn::Sub": "${F.Arn}"}}}}}}}'
    )
    (function,) = read(written(tmp_path, text))
    assert (function.timeout_s, function.memory_mb, function.durable) == (3, 128, False)
    arn = "arn:perdure:lambda:default:000000000000:function:F"
    assert function.environment == {"SELF": "F", "ARN": arn, "SUB": arn}


def function(properties: str, more: str = "") -> str:
    lines = "".join(f"      {line}\n" for line in properties.splitlines())
    head = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n"
    return f"{head}{lines}{more}"


def variables(text: str) -> str:
    return function(f"Handler: a.b\nEnvironment:\n  Variables:\n    TABLE: {text}")


def test_what_only_an_account_knows_comes_from_the_worker(tmp_path: Path) -> None:
    path = written(tmp_path, variables("!GetAtt Table.Arn"))
    (found,) = read(path, TABLE="orders-1")
    assert found.environment == {"TABLE": "orders-1"}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("!Ref Table", "Table, which is neither a parameter with a default nor a function"),
        ("!GetAtt Table.Arn", "Table.Arn, and Table is no function"),
        ("!GetAtt F.Version", "F.Version; of functions only Arn is known"),
        ("!Sub '${Table}'", "Table, which is neither a parameter with a default nor a function"),
        ("!ImportValue x", "Fn::ImportValue, which is not understood here"),
        ("!If [A, b, c]", "Fn::If, which is not understood here"),
    ],
)
def test_what_cannot_be_resolved_is_named(tmp_path: Path, value: str, what: str) -> None:
    path = written(tmp_path, variables(value))
    with pytest.raises(SettingsError) as raised:
        read(path)
    assert str(raised.value) == (
        f"{path}: Resources.F.Properties.Environment.Variables: TABLE refers to {what}."
        " Set TABLE in the environment of the worker"
    )


P = "Resources.F.Properties"
H = "Handler: a.b\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Resources: {}", ": 0 functions; 1 to 1,000 are expected"),
        ("Resources: 1", ": Resources is 1; a table is expected"),
        ("- a", " is ['a']; a table is expected"),
        ("a: [", ": not YAML: "),
        (function("Timeout: 1"), f"{P}: Handler is missing"),
        (function("Handler: app"), f"{P}: Handler is 'app'; MODULE.ATTRIBUTE"),
        (function(H + "Timeuot: 1"), f"{P}: unknown key 'Timeuot'; did you mean Timeout?"),
        (function(H + "Timeout: 0"), f"{P}: Timeout is 0; a whole number of 1 to 900"),
        (function(H + "Timeout: soon"), f"{P}: Timeout is 'soon'; a whole number of 1 to 900"),
        (function(H + "Timeout: !Ref Nothing"), f"{P}: Timeout refers to Nothing, which is"),
        (function(H + "MemorySize: 127"), f"{P}: MemorySize is 127; a whole number of 128"),
        (function(H + "Runtime: nodejs22.x"), f"{P}: Runtime is 'nodejs22.x'; only python"),
        (function(H + "PackageType: Image"), f"{P}: PackageType is 'Image'; only Zip"),
        (function(H + "InlineCode: x"), f"{P}: InlineCode cannot be hosted"),
        (function(H + "CodeUri: nowhere"), f"{P}: CodeUri is 'nowhere'; a folder is expected"),
        (function(H + "CodeUri: {Bucket: b}"), f"{P}: CodeUri is {{'Bucket': 'b'}}; a text"),
        (function(H + "DurableConfig: {Timeout: 1}"), f"{P}.DurableConfig: unknown key 'Timeout'"),
        (
            function(H + "DurableConfig: {RetentionPeriodInDays: 91}"),
            f"{P}.DurableConfig: RetentionPeriodInDays is 91; a whole number of 1 to 90",
        ),
        (
            function(H + "TenancyConfig: {TenantIsolationMode: NONE}"),
            f"{P}.TenancyConfig: TenantIsolationMode is 'NONE'; PER_TENANT is expected",
        ),
        (function(H + "FunctionName: a b"), f"{P}: FunctionName: the function name 'a b'"),
        (function(H + "Environment: {Vars: {}}"), f"{P}.Environment: unknown key 'Vars'"),
        (function(H + "Environment: 1"), f"{P}.Environment is 1; a table is expected"),
        (variables("[1]"), f"{P}.Environment.Variables: TABLE is [1]; a text is expected"),
        (
            function(H + "Environment: {Variables: {_HANDLER: x}}"),
            f"{P}.Environment.Variables: _HANDLER is set by the worker",
        ),
        (
            function(H, "  G:\n    Type: AWS::Serverless::Function\n    Properties:\n"
            "      Handler: a.b\n      FunctionName: F\n"),
            "Resources.G.Properties: FunctionName is 'F', as is that of another function",
        ),
    ],
)  # fmt: skip
def test_errors_name_file_resource_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as raised:
        read(path)
    assert str(raised.value).startswith(str(path))
    assert complaint in str(raised.value)


def test_a_template_runs_no_code(tmp_path: Path) -> None:
    path = written(tmp_path, "!!python/object/apply:os.getcwd []")
    with pytest.raises(SettingsError, match="not YAML: could not determine a constructor"):
        read(path)


def test_a_durable_config_may_be_left_to_no_value(tmp_path: Path) -> None:
    (found,) = read(written(tmp_path, function(H + "DurableConfig: !Ref AWS::NoValue")))
    assert not found.durable


def test_globals_make_functions_durable(tmp_path: Path) -> None:
    shared: Any = "Globals: {Function: {DurableConfig: {ExecutionTimeout: 60}}}\n"
    own = function(H + "DurableConfig: {RetentionPeriodInDays: 3}")
    (found,) = read(written(tmp_path, shared + own))
    assert found.durable
    settings = found.settings
    assert (settings.execution_timeout_s, settings.retention_days) == (60, 3)
