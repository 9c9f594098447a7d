"""The check of answers against the model: it notices wrong answers."""

import io
import json
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from tests.lambda_api.serving import UNKNOWN_ARN, boto_client

REQUEST_ID = "0" * 32
GOOD = {
    "DurableExecutionArn": UNKNOWN_ARN,
    "DurableExecutionName": "nobody",
    "FunctionArn": UNKNOWN_ARN.partition("/")[0],
    "StartTimestamp": 1_700_000_000.5,
    "Status": "RUNNING",
}


class Raw(io.BytesIO):
    """A body as urllib3 provides it."""

    def stream(self) -> list[bytes]:
        return [self.read()]


def answered(status: int, body: dict[str, Any], **headers: str) -> Any:
    """Call with a client that receives this answer."""
    client = boto_client("http://127.0.0.1:1")
    all_headers = {"content-type": "application/json", "x-amzn-RequestId": REQUEST_ID, **headers}
    raw = Raw(json.dumps(body).encode())

    def answer(**_: Any) -> AWSResponse:
        return AWSResponse("http://127.0.0.1:1", status, all_headers, raw)

    client.meta.events.register("before-send.lambda", answer)
    return client.get_durable_execution(DurableExecutionArn=UNKNOWN_ARN)


def test_a_good_answer_passes() -> None:
    assert answered(200, GOOD)["Status"] == "RUNNING"


@pytest.mark.parametrize(
    "bent",
    [
        {"Unknown": 1},
        {"Status": "BUSY"},
        {"StartTimestamp": "2026-01-01T00:00:00Z"},
        {"StartTimestamp": 1_700_000},
        {"FunctionArn": "f"},
        {"Error": {"Message": "m"}},
        {"Error": {"StackTrace": "m"}},
        {"ExecutionDataIncluded": "true"},
        {"DurableConfig": {"RetentionPeriodInDays": 0}},
        {"Version": None},
        {"DurableExecutionName": "a name"},
    ],
    ids=str,
)
def test_a_member_that_the_model_does_not_allow_is_noticed(bent: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        answered(200, GOOD | bent)


def test_a_missing_member_another_status_and_a_missing_id_are_noticed() -> None:
    with pytest.raises(AssertionError):
        answered(200, {"Status": "RUNNING"})
    with pytest.raises(AssertionError):
        answered(202, GOOD)
    with pytest.raises(AssertionError):
        answered(200, GOOD, **{"x-amzn-RequestId": ""})


def test_an_error_has_the_status_and_the_members_of_its_shape() -> None:
    code = {"x-amzn-ErrorType": "ResourceNotFoundException"}
    with pytest.raises(AssertionError):
        answered(400, {"Message": "m"}, **code)
    with pytest.raises(AssertionError):
        answered(404, {"message": "m"}, **code)
    with pytest.raises(AssertionError):
        answered(404, {"Type": "User"}, **code)
