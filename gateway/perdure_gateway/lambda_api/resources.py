"""Executions and functions in the JSON of the Lambda API model."""

from collections.abc import Mapping

from perdure_core.identity import arn_of
from perdure_core.large_payloads import error_from, text_from
from perdure_core.model import ExecutionStatus
from perdure_core.payload import StoredPayload
from perdure_core.state import PauseState, State, is_open
from perdure_gateway.views.messages import state_arn
from perdure_host.lambda_json.fields import optional_seconds, present, seconds
from perdure_host.lambda_json.names import VERSION, function_arn, version_arn
from perdure_host.lambda_json.shapes import error_json
from perdure_host.ports import ExecutionRow, FunctionRow


def execution_json(
    state: State, texts: Mapping[StoredPayload, str], *, included: bool
) -> dict[str, object]:
    """Return the response of GetDurableExecution, with or without payloads and error.

    A payload outside the record and not among the texts is left out; ExecutionDataIncluded is then
    false.
    """
    payload, result = text_from(state.input, texts), text_from(state.result, texts)
    is_whole = (payload is None) == (state.input is None) and (result is None) == (
        state.result is None
    )
    expected_ms = state.deadline_ms if is_open(state) else None
    return present(
        DurableExecutionArn=state_arn(state),
        DurableExecutionName=state.name,
        FunctionArn=version_arn(state.namespace, state.function),
        Version=VERSION,
        Status=ExecutionStatus.DELETING if state.deleted_ms is not None else state.status,
        StartTimestamp=seconds(state.started_ms),
        EndTimestamp=optional_seconds(state.ended_ms),
        InputPayload=payload if included else None,
        Result=result if included else None,
        Error=error_json(error_from(state.error, texts)) if included else None,
        ExecutionDataIncluded=included and is_whole,
        DurableConfig=_durable_config(state.retention_days, state.timeout_s),
        PauseDetails=None if state.pause is None else _pause_json(state.pause),
        ExpectedExecutionTimeoutTimestamp=optional_seconds(expected_ms),
        TraceHeader=None if state.trace_header is None else {"XAmznTraceId": state.trace_header},
    )


def summary_json(row: ExecutionRow) -> dict[str, object]:
    """Return an execution as an entry of a list."""
    return present(
        DurableExecutionArn=arn_of(row.identity),
        DurableExecutionName=row.name,
        FunctionArn=version_arn(row.namespace, row.function),
        Status=row.status,
        StartTimestamp=seconds(row.started_ms),
        EndTimestamp=optional_seconds(row.ended_ms),
    )


def configuration_json(row: FunctionRow, qualifier: str | None) -> dict[str, object]:
    """Return a FunctionConfiguration: the settings that a worker registered, as an active one."""
    arn = function_arn(row.namespace, row.name)
    config = _durable_config(row.retention_days, row.execution_timeout_s)
    return present(
        FunctionName=row.name,
        FunctionArn=arn if qualifier is None else f"{arn}:{qualifier}",
        Version=VERSION,
        State="Active",
        LastUpdateStatus="Successful",
        DurableConfig=config if row.durable else None,
        TenancyConfig={"TenantIsolationMode": "PER_TENANT"} if row.tenant_isolation else None,
    )


def _durable_config(retention_days: int, timeout_s: int) -> dict[str, object]:
    return {"RetentionPeriodInDays": retention_days, "ExecutionTimeout": timeout_s}


def _pause_json(pause: PauseState) -> dict[str, object]:
    return present(
        PauseRequestTimestamp=seconds(pause.requested_ms),
        Reason=pause.reason,
        ExecutionTimeoutPaused=pause.timeout_paused,
    )
