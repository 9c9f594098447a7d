"""Status-change events as JSON, in the shape of Lambda's events in EventBridge.

Source of the shape: AWS Lambda developer guide, monitoring of durable functions ("Durable Execution
Status Change"), and the EventBridge user guide for what surrounds `detail`. The namespace stands in
the place of the region, as in Perdure's ARNs.
"""

from typing import Final
from uuid import UUID, uuid5

import msgspec

from perdure_core.identity import arn_of
from perdure_core.timestamps import from_epoch_ms
from perdure_host.lambda_json.fields import present
from perdure_host.lambda_json.names import ACCOUNT, version_arn
from perdure_host.ports import StatusEvent, StatusEventRow

# Rules of EventBridge match these, so that existing rules go on matching.
SOURCE: Final = "aws.lambda"
DETAIL_TYPE: Final = "Durable Execution Status Change"

_encode: Final = msgspec.json.Encoder().encode


def status_event(row: StatusEventRow) -> StatusEvent:
    """Return the event of a row, the same each time."""
    # A name-based UUID (RFC 9562, version 5): the event's number, in the space of its execution.
    event_id = str(uuid5(UUID(row.key.execution_id), str(row.event_id)))
    at_ms = row.started_ms if row.ended_ms is None else row.ended_ms
    body: dict[str, object] = {
        "version": "0",
        "id": event_id,
        "detail-type": DETAIL_TYPE,
        "source": SOURCE,
        "account": ACCOUNT,
        "time": _format_time(at_ms, "seconds"),
        "region": row.namespace,
        "resources": [],
        "detail": _detail(row),
    }
    return StatusEvent(event_id, _encode(body))


def _detail(row: StatusEventRow) -> dict[str, object]:
    ended_ms = row.ended_ms
    return present(
        durableExecutionArn=arn_of(row.identity),
        durableExecutionName=row.name,
        functionArn=version_arn(row.namespace, row.function),
        status=row.status,
        startTimestamp=_format_time(row.started_ms, "milliseconds"),
        endTimestamp=None if ended_ms is None else _format_time(ended_ms, "milliseconds"),
    )


def _format_time(time_ms: int, precision: str) -> str:
    """Return a time in ISO 8601, in UTC, cut to whole seconds or milliseconds."""
    return from_epoch_ms(time_ms).isoformat(timespec=precision).replace("+00:00", "Z")
