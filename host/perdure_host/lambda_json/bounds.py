"""Size limits of the Lambda API that are smaller than Perdure's own.

Source: Lambda quotas, and the API model of 2015-03-31. Clients of AWS rely on them; a larger value,
stored through another API, is left out of their responses and marked as truncated.
"""

from typing import Final

# Payload and result of a synchronous invoke.
SYNCHRONOUS_BYTES_MAX: Final = 6_291_456
# Payload of an asynchronous invoke; results of callbacks and of operations.
OPERATION_BYTES_MAX: Final = 1_048_576
# The payloads and errors of one checkpoint together.
CHECKPOINT_BYTES_MAX: Final = 8_388_608
