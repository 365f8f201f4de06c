"""The provider's models: what each takes, and how its input is brought to one normal form."""

from orchestrator.domain.models.registry import (
    DEFAULT_MODEL,
    UnknownModelError,
    get_model,
    models,
    price_classes,
)
from orchestrator.domain.models.suggestion import suggestion
from orchestrator.domain.models.values import Kind
from orchestrator.domain.models.video_model import (
    Fault,
    InputError,
    InputField,
    NormalInput,
    VideoModel,
    shown,
)

__all__ = [
    "DEFAULT_MODEL",
    "Fault",
    "InputError",
    "InputField",
    "Kind",
    "NormalInput",
    "UnknownModelError",
    "VideoModel",
    "get_model",
    "models",
    "price_classes",
    "shown",
    "suggestion",
]
