"""Many bases as bytes at once, from columns: the same bytes that `base_codec.encode` makes of each.

The steps between times, their common unit, the scale of amounts and the width of integers are found for all ids at
once; an id's bytes are slices of the whole. Texts, booleans and columns of several kinds go through `base_codec` id by
id. A property test holds both to the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import polars as pl

from expressions.bases import SpanState
from expressions.batch.base_frames import BasePart, RawColumns, values_of_typed
from serving.store import base_codec
from serving.store.logged_event import packed

_Array: TypeAlias = np.ndarray[Any, Any]
_TYPES = {width: np.dtype(f"<{'u' if width.isupper() else 'i'}{size}") for width, size in base_codec.WIDTHS.items()}
_NO_PROFILE = msgspec.Raw(packed({}))


def encoded(part: BasePart) -> list[bytes]:
    """The bytes of every base of a part, in the order of its ids."""
    events: list[list[Any]] = [[] for _ in part.ids]
    for name, raw in part.events.items():
        for index, group in zip(raw.id_indexes.tolist(), _packed(name, raw), strict=True):
            events[index].append(group)
    bases = []
    indices: dict[tuple[Any, ...], tuple[list[str], list[bytes]]] = {}
    for at, groups in enumerate(events):
        spans, state_ids = _spans(part.spans.get(at, ()), indices)
        profile = part.profiles.get(at)
        raw_profile = msgspec.Raw(packed(profile)) if profile else _NO_PROFILE
        bases.append(base_codec.framed(groups, spans, state_ids, raw_profile))
    return bases


def _spans(
    spans: Sequence[SpanState], indices: dict[tuple[Any, ...], tuple[list[str], list[bytes]]]
) -> tuple[list[Any], list[bytes]]:
    """Spans as `base_codec` has them, and their state ids. Most bases have the same; `indices` keeps their order."""
    if not spans:
        return [], []
    key = tuple([state_id for span in spans for state_id in span.states])
    index = indices.get(key)
    if index is None:
        ids = sorted(set(key))
        index = indices[key] = ids, [bytes.fromhex(state_id) for state_id in ids]
    ids, state_ids = index
    return [
        (
            span.low_ms,
            span.high_ms,
            {
                at: base_codec.packed_state(span.states[state_id])
                for at, state_id in enumerate(ids)
                if state_id in span.states
            },
        )
        for span in spans
    ], state_ids


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _packed(name: str | None, raw: RawColumns) -> Iterator[tuple[Any, ...]]:
    """The packed events of a name, as `base_codec` has them, a group an id."""
    firsts, sizes = raw.starts[:-1], np.diff(raw.starts)
    steps = np.diff(raw.ts_ms, prepend=0)
    steps[firsts] = 0  # the first of an id follows none
    units = np.maximum(np.gcd.reduceat(steps, firsts), 1)
    steps //= np.repeat(units, sizes)
    widths, slices = _sliced(steps, firsts, sizes, base_codec.UNSIGNED, skip=1)
    columns = [_columns(field, column, raw.starts) for field, column in raw.fields.items()]
    each: Iterator[Any] = zip(*columns, strict=True) if columns else iter([()] * len(firsts))
    return zip(
        [name] * len(firsts),
        sizes.tolist(),
        raw.ts_ms[firsts].tolist(),
        units.tolist(),
        widths,
        slices,
        each,
        strict=True,
    )


def _sliced(
    numbers: _Array, firsts: _Array, sizes: _Array, widths: tuple[tuple[str, int], ...], skip: int = 0
) -> tuple[list[str], list[bytes]]:
    """The least width that holds the integers of each group, and their bytes, without the first `skip` of a group."""
    least, greatest = np.minimum.reduceat(numbers, firsts), np.maximum.reduceat(numbers, firsts)
    chosen = np.full(len(firsts), len(widths) - 1)
    for index, (width, bound) in reversed(list(enumerate(widths[:-1]))):
        fits = (greatest < bound) & (least >= (-bound if width.islower() else 0))
        chosen[fits] = index
    data = {index: numbers.astype(_TYPES[widths[index][0]]).tobytes() for index in np.unique(chosen).tolist()}
    size_of = [base_codec.WIDTHS[width] for width, _ in widths]
    slices = [
        data[index][(first + skip) * size_of[index] : (first + size) * size_of[index]]
        for index, first, size in zip(chosen.tolist(), firsts.tolist(), sizes.tolist(), strict=True)
    ]
    return [widths[index][0] for index in chosen.tolist()], slices


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(field: str, column: pl.Series, starts: _Array) -> list[Any]:
    """The packed columns of a field, as `base_codec` has them, a group an id."""
    firsts = starts[:-1]
    has = {kind: column.struct.field(kind).is_not_null().to_numpy() for kind in ("number", "string", "boolean", "json")}
    counts = {kind: np.add.reduceat(mask.astype(np.int64), firsts) for kind, mask in has.items()}
    is_numeric = (counts["number"] > 0) & (counts["string"] + counts["boolean"] + counts["json"] == 0)
    packed_columns: list[Any] = [None] * len(firsts)
    if is_numeric.any():
        numeric = np.flatnonzero(is_numeric)
        rows = has["number"] & np.repeat(is_numeric, np.diff(starts))
        # As `from_json` reads them: without the sign of -0.0.
        numbers = column.struct.field("number").fill_null(0.0).to_numpy()[rows] + 0.0
        sizes = counts["number"][numeric]
        for at, (kind, width, data, scale) in zip(numeric.tolist(), _numbers(numbers, sizes), strict=True):
            first, end = int(starts[at]), int(starts[at + 1])
            presence = None
            if counts["number"][at] < end - first:
                presence = np.packbits(has["number"][first:end], bitorder="little").tobytes()
            packed_columns[at] = (field, kind, width, data, presence, scale, [])
    if not is_numeric.all():
        _fill_others(field, column, starts, packed_columns)
    return packed_columns


def _fill_others(field: str, column: pl.Series, starts: _Array, packed_columns: list[Any]) -> None:
    """Fills in the groups that are not all numbers, one by one."""
    bounds = starts.tolist()
    is_text = all(column.struct.field(kind).is_null().all() for kind in ("number", "boolean", "json"))
    texts = column.struct.field("string").to_list() if is_text else []
    for at, done in enumerate(packed_columns):
        if done is None:
            first, end = bounds[at], bounds[at + 1]
            values = texts[first:end] if is_text else values_of_typed(column[first:end])
            packed_columns[at] = base_codec.packed_column(field, values)


def _numbers(numbers: _Array, sizes: _Array) -> Iterator[tuple[str, str, bytes, int]]:
    """Kind, width, data and scale of each group of numbers: the first scale at which all of the group are whole."""
    ends = np.cumsum(sizes)
    firsts = ends - sizes
    greatest = np.maximum.reduceat(np.abs(numbers), firsts)
    scales = np.zeros(len(sizes), dtype=np.int64)
    whole = np.zeros(len(numbers), dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        for scale in base_codec.SCALES:
            scaled = np.rint(numbers * scale)
            fits = np.logical_and.reduceat(scaled / scale == numbers, firsts)
            fits &= (greatest * scale < 2.0**53) & (scales == 0)
            scales[fits] = scale
            rows = np.repeat(fits, sizes)
            whole[rows] = scaled[rows]
            if scales.all():
                break
    widths, slices = _sliced(whole, firsts, sizes, base_codec.SIGNED)
    floats = numbers.astype("<f8").tobytes() if not scales.all() else b""
    for scale, width, data, first, end in zip(
        scales.tolist(), widths, slices, firsts.tolist(), ends.tolist(), strict=True
    ):
        yield ("n", width, data, scale) if scale else ("d", "d", floats[8 * first : 8 * end], 1)
