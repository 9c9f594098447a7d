"""The bounds of the Lambda API that are narrower than ours.

Source: Lambda quotas, and the API model of 2015-03-31. Clients of AWS rely on them; what others
keep that is larger, they are shown as left out.
"""

from typing import Final

# What a caller who waits sends and gets.
SYNCHRONOUS_BYTES_MAX: Final = 6_291_456
# What one who does not wait sends; results of callbacks and of operations.
OPERATION_BYTES_MAX: Final = 1_048_576
# The payloads and errors of one checkpoint together.
CHECKPOINT_BYTES_MAX: Final = 8_388_608
