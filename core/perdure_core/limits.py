"""Bounds of what callers may send and store, in one place.

Sources are sections of the public Lambda API model (2015-03-31) and the Lambda quotas page, unless
a reason is given.
"""

from typing import Final

NAMESPACE_CHARS_MAX: Final = 64
FUNCTION_NAME_CHARS_MAX: Final = 64
# Of a version or alias, as the Lambda API model has it.
FUNCTION_VERSION_CHARS_MAX: Final = 128
EXECUTION_NAME_CHARS_MAX: Final = 64
OPERATION_ID_CHARS_MAX: Final = 64
OPERATION_NAME_CHARS_MAX: Final = 256
SUB_TYPE_CHARS_MAX: Final = 32
CLIENT_TOKEN_CHARS_MAX: Final = 64
REASON_CHARS_MAX: Final = 1_024
TENANT_ID_CHARS_MAX: Final = 256
TRACE_HEADER_CHARS_MAX: Final = 8_192
# In base64, as it is sent.
CLIENT_CONTEXT_CHARS_MAX: Final = 3_583
CHECKPOINT_TOKEN_CHARS_MAX: Final = 2_048
CALLBACK_ID_CHARS_MAX: Final = 1_024
ARN_CHARS_MAX: Final = 1_024
# Ours, as is its alphabet.
WORKER_ID_CHARS_MAX: Final = 128

# Ours: inputs and results of executions and operations, callbacks included, in bytes of UTF-8.
PAYLOAD_BYTES_MAX: Final = 67_108_864
# Ours: what is larger is stored beside the history, once, and loaded only when it is read.
# A choice between rows of their own for small values and states that grow with large ones, not a
# measured optimum (decision 0011).
PAYLOAD_INLINE_BYTES_MAX: Final = 16_384
# Ours: inputs up to here are compared as values; parsed, they take a multiple of the memory.
COMPARED_INPUT_BYTES_MAX: Final = 1_048_576
# All fields together.
ERROR_BYTES_MAX: Final = 1_048_576
# Ours: of what is larger only the beginning stays in the history. Errors that Perdure itself makes,
# those of its SDK among them, stay below.
ERROR_INLINE_BYTES_MAX: Final = 32_768
# Ours: a step that lasts a year keeps a thousand of them in its history.
HEARTBEAT_DETAILS_BYTES_MAX: Final = 8_192
CHECKPOINT_UPDATES_MAX: Final = 1_000
# One payload of the largest size, plus what the Lambda API accepts.
CHECKPOINT_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + 8_388_608
# Ours: a replay is delivered whole, and a folded operation takes a kilobyte.
OPERATIONS_MAX: Final = 100_000
# Ours: a history is read and folded whole. A step is two or three records of a hundred bytes, and
# its result.
HISTORY_RECORDS_MAX: Final = 1_000_000
HISTORY_BYTES_MAX: Final = 268_435_456
# Changes that did not come from the caller, in one answer; the rest comes with the next answer. One
# outcome always fits, whatever its size, or nothing would ever move.
CHECKPOINT_NEWS_BYTES_MAX: Final = 4_194_304

EXECUTION_TIMEOUT_S_MAX: Final = 31_622_400
RETENTION_DAYS_MAX: Final = 90
RETENTION_DAYS_DEFAULT: Final = 14
WAIT_MS_MAX: Final = 31_622_400_000
CALLBACK_TIMEOUT_S_MAX: Final = 99_999_999
# Ours: how long one call may wait for an execution to end, and one poll for an invocation.
EXECUTION_WAIT_MS_MAX: Final = 900_000
POLL_WAIT_MS_MAX: Final = 60_000

PAGE_ITEMS_MAX: Final = 1_000
PAGE_ITEMS_DEFAULT: Final = 100
# Ours: a page of a history ends once it is as large. With one large event more it is still below
# the 4 MiB that gRPC clients accept by default.
PAGE_BYTES_MAX: Final = 2_097_152
# Ours: open callbacks in a view of an execution; the others come in pages.
OPEN_CALLBACKS_SHOWN_MAX: Final = 100
# The largest in 32 bits; a client that follows a history sends the last event id that it has seen.
EVENT_ID_MAX: Final = 2_147_483_647
# Of one filter; there are eight statuses.
STATUSES_MAX: Final = 10

# Ours, for each worker: invocations at a time, and functions.
SLOTS_MAX: Final = 10_000
FUNCTIONS_PER_WORKER_MAX: Final = 1_000
# As many as slots: nothing else can be claimed, reported as running or handed back.
INVOCATIONS_LISTED_MAX: Final = SLOTS_MAX

BUCKETS: Final = 4_096

# A broken invocation is tried again after 0 s, 1 s, 2 s, 4 s … of waiting, never longer than this.
INVOCATION_BACKOFF_MS_FIRST: Final = 1_000
INVOCATION_BACKOFF_MS_MAX: Final = 60_000
