"""Public module: values checked against, and rebuilt from, their annotations."""

from perdure.typed.serdes import (
    TypedSerDes,
    decode_event,
    encode_result,
    serdes_of_batch,
    serdes_of_result,
)

__all__ = [
    "TypedSerDes",
    "decode_event",
    "encode_result",
    "serdes_of_batch",
    "serdes_of_result",
]
