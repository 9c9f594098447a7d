"""Our names, parameters, defaults and enums beside those of the AWS SDK that we follow.

`published_surface.json` was recorded from the published wheel of the AWS Lambda durable execution
SDK for Python 3.0.0, and from that of its OpenTelemetry package 2.0.0 (`otel`), by `surface.py`; it
is compared with the installed ones. Whatever differs is listed here with its reason, and what is
listed must differ: the list cannot go stale.
"""

import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from tests.sdk.surface import surface

RECORDED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("published_surface.json").read_text()
)

NO_BOTO = "there is no AWS client behind a worker, so nothing of boto3 can fail"
NO_LAMBDA = "a worker calls handlers itself: there is no Lambda envelope, and no Lambda context"
OURS_INSIDE = "contexts and callbacks are made by the SDK; what they are made of is ours"
INSIDE = "a part of the published SDK's own machinery, of no use to handlers"
NAMED_ALIKE = "a parameter has the name that it has in the class it implements"
ADDED = "we offer more here"
REAL = "the class itself, where the published module has a protocol"

DIFFERENCES = {
    "DurableContext.parameters": OURS_INSIDE,
    "DurableContext.properties": ADDED,
    "DurableContext.methods.create_child_context": OURS_INSIDE,
    "DurableContext.methods.from_lambda_context": NO_LAMBDA,
    "StepContext.parameters": ADDED,
    "StepContext.properties": ADDED,
    "durable_execution": NO_BOTO,
    "config.Duration.parameters": ADDED,
    "config.StepConfig.parameters": ADDED,
    "context.Callback.parameters": OURS_INSIDE,
    "context.DurableContext.parameters": OURS_INSIDE,
    "context.DurableContext.properties": ADDED,
    "context.DurableContext.methods.create_child_context": OURS_INSIDE,
    "context.DurableContext.methods.from_lambda_context": NO_LAMBDA,
    "exceptions.AwsErrorMetadata": NO_BOTO,
    "exceptions.AwsErrorObj": NO_BOTO,
    "exceptions.BackgroundThreadError": "the worker sends checkpoints: no thread dies",
    "exceptions.BotoClientError": NO_BOTO,
    "exceptions.CheckpointError": NO_BOTO,
    "exceptions.CheckpointErrorCategory": NO_BOTO,
    "exceptions.DurableApiErrorCategory": NO_BOTO,
    "exceptions.GetExecutionStateError": NO_BOTO,
    "exceptions.OrderedLockError": INSIDE,
    "execution.DurableExecutionInvocationInput": NO_LAMBDA,
    "execution.DurableExecutionInvocationInputWithClient": NO_LAMBDA,
    "execution.InitialExecutionState": NO_LAMBDA,
    "execution.durable_execution": NO_BOTO,
    "execution.handle_checkpoint_error": NO_BOTO,
    "filesystem_serdes.FileSystemSerDes.methods.is_primitive": INSIDE,
    "logger.LogInfo": INSIDE,
    "logger.Logger.methods.debug": ADDED,
    "logger.Logger.methods.error": ADDED,
    "logger.Logger.methods.exception": ADDED,
    "logger.Logger.methods.info": ADDED,
    "logger.Logger.methods.warning": ADDED,
    "logger.Logger.methods.from_log_info": INSIDE,
    "logger.Logger.methods.with_is_replaying": INSIDE,
    "logger.Logger.methods.with_log_info": INSIDE,
    "otel.ContextExtractor": "an alias of a type, whose parameters depend on how it is written",
    "otel.__version__": "it is a part of Perdure, whose version is perdure.__version__",
    "plugin.InvocationEndInfo.methods.from_durable_execution_invocation_output": NO_LAMBDA,
    "plugin.InvocationEndInfo.parameters": ADDED,
    "plugin.InvocationInfo.parameters": ADDED,
    "plugin.InvocationStartInfo.parameters": ADDED,
    "plugin.PluginExecutor": INSIDE,
    "plugin.PluginHost": INSIDE,
    "retries.RetryPresets.methods.fixed": ADDED,
    "serdes.BytesCodec": INSIDE,
    "serdes.Codec": INSIDE,
    "serdes.ContainerCodec": INSIDE,
    "serdes.DateTimeCodec": INSIDE,
    "serdes.DecimalCodec": INSIDE,
    "serdes.EncodedValue": INSIDE,
    "serdes.PrimitiveCodec": INSIDE,
    "serdes.TypeCodec": INSIDE,
    "serdes.TypeTag": INSIDE,
    "serdes.UuidCodec": INSIDE,
    "serdes.deserialize": INSIDE,
    "serdes.serialize": INSIDE,
    "serdes.SerDes.methods.is_primitive": INSIDE,
    "serdes.ExtendedTypeSerDes.methods.is_primitive": INSIDE,
    "serdes.ExtendedTypeSerDes.methods.deserialize": NAMED_ALIKE,
    "serdes.ExtendedTypeSerDes.methods.serialize": NAMED_ALIKE,
    "serdes.JsonSerDes.methods.is_primitive": INSIDE,
    "serdes.JsonSerDes.methods.deserialize": NAMED_ALIKE,
    "serdes.JsonSerDes.methods.serialize": NAMED_ALIKE,
    "serdes.PassThroughSerDes.methods.is_primitive": INSIDE,
    "serdes.PassThroughSerDes.methods.deserialize": NAMED_ALIKE,
    "serdes.PassThroughSerDes.methods.serialize": NAMED_ALIKE,
    "types.BatchResult.frozen": REAL,
    "types.Callback.properties": ADDED,
    "types.BatchResult.parameters": REAL,
    "types.BatchResult.properties": REAL,
    "types.DurableContext.parameters": REAL,
    "types.DurableContext.properties": REAL,
    "types.LambdaContext": NO_LAMBDA,
    "types.StepContext.parameters": ADDED,
    "types.StepContext.properties": ADDED,
    "types.WaitForCallbackContext.parameters": ADDED,
    "types.WaitForConditionCheckContext.parameters": ADDED,
}


def module_name(part: str) -> str:
    return f"perdure.{part}" if part else "perdure"


def differences(part: str) -> Iterator[str]:
    """Return where our module is not as recorded, as dotted paths."""
    recorded = RECORDED[part]
    ours = surface(importlib.import_module(module_name(part)), recorded)
    for name, expected in recorded.items():
        yield from compare(f"{part}.{name}".lstrip("."), expected, ours.get(name))


def compare(path: str, expected: Any, found: Any) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        mine = cast("dict[str, Any]", found)
        for key, value in cast("dict[str, Any]", expected).items():
            yield from compare(f"{path}.{key}", value, mine.get(key))
    elif expected != found:
        yield path


def published(part: str) -> ModuleType:
    name = "aws_durable_execution_sdk_python"
    if part == "otel":  # a package of its own
        return importlib.import_module(f"{name}_otel")
    return importlib.import_module(f"{name}.{part}" if part else name)


def defined_in(module: ModuleType) -> set[str]:
    """Return the public classes and functions that are made in the module itself."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
        if value.__module__ == module.__name__
    }


@pytest.mark.parametrize("part", list(RECORDED))
def test_what_is_recorded_is_what_the_published_package_offers(part: str) -> None:
    module = published(part)
    assert surface(module, RECORDED[part]) == RECORDED[part]
    named = set(getattr(module, "__all__", ())) - {"__version__"}
    assert named | defined_in(module) <= set(RECORDED[part])


@pytest.mark.parametrize("part", list(RECORDED))
def test_names_parameters_and_defaults_are_the_published_ones(part: str) -> None:
    prefix = f"{part}." if part else ""
    mine = {
        path
        for path in DIFFERENCES
        if path.startswith(prefix) and (part or path.split(".")[0] in RECORDED[""])
    }
    assert set(differences(part)) == mine


def test_every_difference_has_a_reason() -> None:
    assert all(DIFFERENCES.values())
