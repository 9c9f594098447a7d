"""Public module: masked previews of values."""

from perdure.serdes.preview import (
    FieldMatchMode,
    PreviewConfig,
    PreviewField,
    PreviewMode,
    build_preview,
)

__all__ = [
    "FieldMatchMode",
    "PreviewConfig",
    "PreviewField",
    "PreviewMode",
    "build_preview",
]
