"""Expressions that are not saved, over HTTP: checked as saving would check them, and tried on everybody."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Depends

from expressions.definitions import Definition, DefinitionKind
from expressions.plan import plan
from serving.api.beside import beside
from serving.api.dependencies import EngineOf, require_admin
from serving.api.wire.unsaved_expressions import Cost, Part, PreviewBody, PreviewOut, ValidateBody, Validated
from serving.definitions import saving
from serving.definitions.catalogue import Catalogue, encode
from serving.engine import Engine
from serving.lookups import unsaved_expressions
from serving.lookups.typed_text import KEY, Typed, told_beside, told_of
from serving.lookups.warnings import seen_in_lake, warnings
from serving.lookups.worker import in_worker, in_worker_or_none
from serving.refusals import Unavailable, invalid

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)])

KINDS: dict[str, DefinitionKind] = {"trait": "trait", "segment": "segment", "flag": "flag"}
#: What a call that names no parts is answered with.
PARTS: tuple[Part, ...] = ("warnings", "cost")
#: A longer text, or a tree of more bytes of JSON, is read beside the event loop: the longest take a tenth of a second,
#: these a few milliseconds.
SHORT_CHARACTERS, SHORT_TREE_BYTES = 300, 3_000


@router.post("/validate", tags=["admin"], response_model_exclude_none=True)
async def validate(body: ValidateBody, engine: EngineOf) -> Validated:
    """Checks an expression as saving would, without saving it; and helps an editor by the parts that it asks for.

    Only the parts `warnings` and `cost` read the lake. A call that names no parts is answered with these two.
    """
    kind, parts = kind_of("type", body.type), PARTS if body.parts is None else body.parts
    if body.tree is None and body.expression is None:
        raise invalid("expression", None, "write one", "unable to decode request body: expression: Field required")
    text = body.expression or ""
    if body.parts is None and body.tree is None and not text.strip():
        raise invalid("expression", text, "write one", "Expression is required and cannot be empty")
    catalogue = await engine.current()
    vocabulary = engine.vocabulary.at_hand(lambda: seen_in_lake(engine)) if "completions" in parts else None
    typed = Typed(kind, text, body.tree, parts, body.position, body.key)
    if len(text) <= SHORT_CHARACTERS and (body.tree is None or len(msgspec.json.encode(body.tree)) <= SHORT_TREE_BYTES):
        told = await beside(lambda: told_of(catalogue, vocabulary, typed))  # a name may stand for much
    else:
        told = await in_worker(told_beside, encode(catalogue), vocabulary, typed)
    answer = Validated.model_validate(told)
    if answer.valid:
        definition = Definition(kind, body.key or KEY, text if body.tree is None else answer.text or "")
        await _ask_the_lake(answer, definition, parts, catalogue, engine)
    return answer


async def _ask_the_lake(
    answer: Validated, definition: Definition, parts: Collection[Part], catalogue: Catalogue, engine: Engine
) -> None:
    """Adds the parts of an answer that the lake knows."""
    if not {"cost", "warnings"} & {*parts}:
        return
    bound = await to_thread.run_sync(saving.bound_alone, catalogue, definition)
    if "cost" in parts:
        needed, kept = plan([bound.expr]), catalogue.plan
        is_live = set(needed.needs) <= set(kept.needs) and set(needed.attributes) <= set(kept.attributes)
        text, now_ms = encode(catalogue), engine.clock_ms()
        bytes_per_user = None  # where it is not told, whether the expression is valid is known all the same
        with suppress(Unavailable):
            bytes_per_user = await in_worker_or_none(
                unsaved_expressions.cost,
                await engine.source(),
                text,
                definition.kind,
                definition.expression,
                now_ms,
            )
        answer.cost = Cost(bytesPerUser=bytes_per_user, live=is_live)
    if "warnings" in parts:
        answer.warnings = await warnings(engine, bound)


@router.post("/preview", tags=["people"])
async def preview(body: PreviewBody, engine: EngineOf) -> PreviewOut:
    """For how many people an unsaved expression holds, from the lake as it is now, and some of them with their values.

    Events that are not drained yet, those of the last second or so, are not in it.
    """
    kind = kind_of("type", body.type)
    catalogue = await engine.current()
    await to_thread.run_sync(saving.bound_alone, catalogue, Definition(kind, KEY, body.expression))
    source, text = await engine.source(), encode(catalogue)
    preview = await in_worker(
        unsaved_expressions.preview, source, text, kind, body.expression, engine.clock_ms(), body.sample
    )
    return PreviewOut.model_validate(preview)


def kind_of(field: str, sent: str) -> DefinitionKind:
    """The kind of definition that a field of a body names. Raises `Invalid`."""
    kind = KINDS.get(sent)
    if kind is None:
        message = f"{field.capitalize()} must be one of: trait, segment, flag"
        raise invalid(field, sent, "use trait, segment or flag", message)
    return kind
