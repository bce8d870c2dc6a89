"""Expressions that are not saved, over HTTP: checked as saving would check them, and tried on everybody."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from expressions.definitions import Definition, DefinitionKind
from expressions.plan import plan
from serving.api.dependencies import EngineOf, require_admin
from serving.api.wire.unsaved_expressions import Cost, PreviewBody, PreviewOut, ValidateBody, Validated
from serving.definitions import saving
from serving.definitions.catalogue import encode
from serving.lookups import unsaved_expressions
from serving.lookups.warnings import warnings
from serving.lookups.worker import in_worker
from serving.refusals import Invalid, Unavailable, invalid

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)])

KINDS: dict[str, DefinitionKind] = {"trait": "trait", "segment": "segment", "flag": "flag"}


@router.post("/validate", tags=["admin"], response_model_exclude_none=True)
async def validate(body: ValidateBody, engine: EngineOf) -> Validated:
    """Checks an expression as saving would, without saving it."""
    kind = _kind(body)
    if not body.expression.strip():
        raise invalid("expression", body.expression, "write one", "Expression is required and cannot be empty")
    catalogue = await engine.current()
    try:
        bound = saving.bound_alone(catalogue, Definition(kind, unsaved_expressions.KEY, body.expression))
    except Invalid as refusal:
        return Validated(valid=False, error=refusal.message, details=refusal.details)
    needed, kept = plan([bound.expr]), catalogue.plan
    is_live = set(needed.needs) <= set(kept.needs) and set(needed.attributes) <= set(kept.attributes)
    try:
        source, text = await engine.source(), encode(catalogue)
        bytes_per_user = await in_worker(
            unsaved_expressions.cost, source, text, kind, body.expression, engine.clock_ms()
        )
    except Unavailable:
        bytes_per_user = None  # the lake is away: whether the expression is valid is known all the same
    return Validated(
        valid=True,
        type=sorted(bound.dtype),
        warnings=await warnings(engine, bound),
        references=[f"{kind} '{key}'" for kind, key in sorted(bound.uses)],
        cost=Cost(bytesPerUser=bytes_per_user, live=is_live),
    )


@router.post("/preview", tags=["people"])
async def preview(body: PreviewBody, engine: EngineOf) -> PreviewOut:
    """For how many people an unsaved expression holds, from the lake as it is now, and some of them with their values.

    Events that are not drained yet, those of the last second or so, are not in it.
    """
    kind = _kind(body)
    catalogue = await engine.current()
    saving.bound_alone(catalogue, Definition(kind, unsaved_expressions.KEY, body.expression))
    source, text = await engine.source(), encode(catalogue)
    preview = await in_worker(
        unsaved_expressions.preview, source, text, kind, body.expression, engine.clock_ms(), body.sample
    )
    return PreviewOut.model_validate(preview)


def _kind(body: ValidateBody) -> DefinitionKind:
    kind = KINDS.get(body.type)
    if kind is None:
        raise invalid("type", body.type, "use trait, segment or flag", "Type must be one of: trait, segment, flag")
    return kind
