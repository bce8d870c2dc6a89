"""Analyses over HTTP: questions about everybody that take long, started, followed and cancelled."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from msgspec import structs

from expressions.definitions import Definition
from serving.api.definitions import restorable
from serving.api.dependencies import NOT_FOUND, Admin, EngineOf
from serving.api.unsaved_expressions import kind_of
from serving.api.wire.analyses import AnalysisBody, AnalysisOut
from serving.definitions import flags, saving
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.engine import Engine
from serving.lookups.analyses import ANALYSES
from serving.lookups.analysis_runs import Analysis, AnalysisRuns, Question
from serving.lookups.unsaved_expressions import KEY
from serving.refusals import NotFound, invalid

router = APIRouter(prefix="/v1/admin/analyses", tags=["people"], responses=NOT_FOUND)


async def runs_of(request: Request) -> AnalysisRuns:
    """The analyses of this process."""
    runs: AnalysisRuns = request.app.state.analyses
    return runs


RunsOf = Annotated[AnalysisRuns, Depends(runs_of)]


@router.post("")
async def start_analysis(body: AnalysisBody, engine: EngineOf, runs: RunsOf, caller: Admin) -> AnalysisOut:
    """Starts an analysis and answers at once; it is done at once where it was answered before.

    The caller's last analysis of the same kind, of the same definition, is cancelled where it has not ended.
    """
    catalogue = await engine.current()
    question = await _to_bring_back(body, engine) if body.version is not None else _question(body, catalogue)
    if question.analysis == "impact":
        # All definitions are bound anew, which takes a thousand of them a seventh of a second.
        after = await to_thread.run_sync(_edited, question, catalogue)
        return _wire_analysis(await runs.start(question, catalogue, caller.id, after))
    require_bound(question, catalogue)
    return _wire_analysis(await runs.start(question, catalogue, caller.id))


@router.get("/{analysis_id}")
async def read_analysis(analysis_id: str, runs: RunsOf, caller: Admin) -> AnalysisOut:
    """How far an analysis is, and its result. It can be asked for 15 minutes after its end."""
    return _wire_analysis(await runs.find(analysis_id))


@router.delete("/{analysis_id}")
async def cancel_analysis(analysis_id: str, runs: RunsOf, caller: Admin) -> AnalysisOut:
    """Cancels an analysis, unless it has ended, and forgets it."""
    return _wire_analysis(await runs.cancel(analysis_id))


def _question(body: AnalysisBody, catalogue: Catalogue) -> Question:
    analysis = next((known for known in ANALYSES if known == body.analysis), None)
    if analysis is None:
        raise invalid("analysis", body.analysis, f"use {' or '.join(ANALYSES)}")
    kind = kind_of("kind", body.kind)
    text = body.expression
    if text is None:
        if body.key is None:
            raise invalid("expression", None, "send an expression, or the key of a saved definition")
        stored = catalogue.definitions.get((kind, body.key))
        if stored is None:
            raise NotFound(f"{saving.title(kind)} not found", {"field": "key", "value": body.key})
        text = stored.expression
    if analysis == "people" and kind == "flag":
        if body.key is None:
            raise invalid("key", None, "name the flag: whom it allows depends on its settings")
        if body.expression is not None:
            raise invalid("expression", body.expression, "leave it out: it is asked of the flag as it is saved")
    if body.deleted:
        _check_deleted(body)
    if analysis != "impact":
        return Question(analysis, kind, body.key, text)
    if body.key is None:
        raise invalid("key", None, "name the definition that is edited, or is to be made")
    if body.flag is not None and kind != "flag":
        raise invalid("flag", f"settings of a {kind}", "send settings of a flag alone")
    return Question(analysis, kind, body.key, text, None if body.flag is None else body.flag.settings(), body.deleted)


async def _to_bring_back(body: AnalysisBody, engine: Engine) -> Question:
    """The question what a rollback would change. Raises `Invalid`, `NotFound`."""
    if body.analysis != "impact":
        raise invalid("version", body.version, "send it with the analysis impact alone")
    if body.key is None:
        raise invalid("key", None, "name the definition of which a version is to be brought back")
    if body.expression is not None or body.flag is not None or body.deleted:
        raise invalid("version", body.version, "leave out expression, flag and deleted: a version has its own")
    kind = kind_of("kind", body.kind)
    chosen = await to_thread.run_sync(restorable, engine, kind, body.key, body.version or 0)
    return Question("impact", kind, body.key, chosen.expression, chosen.settings, version=chosen.version)


def _check_deleted(body: AnalysisBody) -> None:
    """Raises `Invalid` where a delete makes no sense: of another question, or with a text or settings besides."""
    if body.analysis != "impact":
        raise invalid("deleted", body.deleted, "send it with the analysis impact alone")
    if body.expression is not None:
        raise invalid("expression", body.expression, "leave it out: what is deleted is deleted as it is saved")
    if body.flag is not None:
        raise invalid("flag", "settings with a delete", "leave them out: what is deleted is deleted as it is saved")


def require_bound(question: Question, catalogue: Catalogue) -> None:
    """Raises `Invalid` for an expression that could not be saved now, unless it is saved already."""
    saved = catalogue.definitions.get((question.kind, question.key or ""))
    if saved is None or saved.expression != question.expression:
        saving.bound_alone(catalogue, Definition(question.kind, KEY, question.expression))


def _edited(question: Question, catalogue: Catalogue) -> Catalogue:
    """The catalogue after the edit that a question is about. Raises what to save it, or to delete it, would."""
    kind, key = question.kind, question.key
    assert key is not None, "an edit is of something"
    before = catalogue.definitions.get((kind, key))
    if question.deleted:
        assert before is not None, "the question was made of it"
        saving.require_unused(catalogue, kind, key)
        return catalogue.with_definition(structs.replace(before, version=catalogue.version + 1, deleted=True))
    saving.bound_alone(catalogue, Definition(kind, key, question.expression))
    settings = {} if before is None else dict(before.settings)
    if question.version is not None:
        settings = dict(question.settings or {})
    elif kind == "flag":
        settings = flags.settings_after(key, settings, question.settings or {})
    version = catalogue.version + 1
    stored = StoredDefinition(kind=kind, key=key, expression=question.expression, version=version, settings=settings)
    return saving.with_saved(catalogue, stored)


def _wire_analysis(analysis: Analysis) -> AnalysisOut:
    asked = analysis.question
    return AnalysisOut.model_validate(
        {
            "id": analysis.id,
            "analysis": asked.analysis,
            "kind": asked.kind,
            "key": asked.key,
            "expression": asked.expression,
            "state": analysis.state,
            "progress": 1.0 if analysis.state == "done" else analysis.done / analysis.of if analysis.of else 0.0,
            "result": analysis.result if analysis.state == "done" else None,
            "error": analysis.error,
        }
    )
