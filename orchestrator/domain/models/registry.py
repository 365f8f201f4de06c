"""Every module of this package that has a `MODEL` is a model; a further one is one more file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from types import MappingProxyType

from orchestrator.domain.models.suggestion import suggestion
from orchestrator.domain.models.values import Kind
from orchestrator.domain.models.video_model import InputError, VideoModel

DEFAULT_MODEL = "kling-v2-6"
_PACKAGE = "orchestrator.domain.models"


class UnknownModelError(ValueError):
    """No model has this slug; `mend` names the one that was probably meant."""

    def __init__(self, slug: str) -> None:
        meant = suggestion(slug, models())
        self.slug = slug
        self.message = "is not a model this version knows"
        self.mend = (
            f"Did you mean {meant}?" if meant else f"Models known here: {', '.join(models())}."
        )
        super().__init__(f"{slug!r} {self.message}. {self.mend}")


@cache
def models() -> Mapping[str, VideoModel]:
    """All models by slug, sorted. Raises ValueError where two files claim one slug."""
    found: dict[str, VideoModel] = {}
    for model in _discovered():
        if model.slug in found:
            raise ValueError(f"two modules define the model {model.slug}")
        found[model.slug] = model
    return MappingProxyType(dict(sorted(found.items())))


def get_model(slug: str) -> VideoModel:
    """The model of this slug. Raises UnknownModelError."""
    model = models().get(slug)
    if model is None:
        raise UnknownModelError(slug)
    return model


@cache
def price_classes() -> tuple[str, ...]:
    """Every price class there is, sorted: of all inputs that differ in choices and flags alone."""
    found = set()
    for model in models().values():
        choices = {
            field.name: (True, False) if field.kind is Kind.FLAG else field.choices
            for field in model.fields
            if field.kind is Kind.FLAG or field.choices
        }
        for values in product(*choices.values()):
            try:
                normal = model.normalise({"prompt": "x"} | dict(zip(choices, values, strict=True)))
            except InputError:
                continue
            found.add(model.price_class(normal))
    return tuple(sorted(found))


def _discovered() -> Iterator[VideoModel]:
    package = importlib.import_module(_PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        model = getattr(importlib.import_module(f"{_PACKAGE}.{module.name}"), "MODEL", None)
        if isinstance(model, VideoModel):
            yield model
