"""Codec of `BatchResult`: its written form, each result written by the codec of its branch."""

from collections.abc import Callable
from typing import Any

from perdure.primitives.completion import BatchItemStatus
from perdure.serdes.batch_result import BatchResult
from perdure.typed.codecs import OBJECT, Codec, Mismatch, type_of


class BatchResultCodec(Codec):
    """A batch with one codec for all results, or one for each index."""

    expected = "BatchResult"
    shapes = frozenset({OBJECT})
    kind = BatchResult

    def __init__(self, item: Codec, *others: Codec) -> None:
        self._items = (item, *others)

    def write(self, value: Any) -> Any:
        if type_of(value) is not BatchResult:
            raise self.refuse(value)
        written = value.to_dict()
        self._each(written["all"], lambda codec, result: codec.write(result))
        return written

    def read(self, written: Any) -> Any:
        try:
            items = [dict(item) for item in written["all"]]
            self._each(items, lambda codec, result: codec.read(result))
            return BatchResult[Any].from_dict({**written, "all": items})
        except (LookupError, TypeError, ValueError):
            raise self.refuse(written) from None

    def _each(self, items: list[dict[str, Any]], action: Callable[[Codec, Any], Any]) -> None:
        for position, item in enumerate(items):
            if item["status"] != BatchItemStatus.SUCCEEDED.value:
                continue
            codec = self._items[item["index"] if len(self._items) > 1 else 0]
            try:
                item["result"] = action(codec, item["result"])
            except Mismatch as mismatch:
                raise mismatch.at(f".all[{position}].result") from None
