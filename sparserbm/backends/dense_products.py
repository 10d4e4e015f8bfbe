"""Products with all connections of a layer: its weights, in the order of the pattern, are a dense matrix.

The way of a BLAS (Goto and van de Geijn 2008): columns of the right factor are packed into strips, rows of the left one
go by in blocks, and the sums of a block and a strip stay in registers, a tile. But the threads are those of `threads`,
and every number of a result is one sum in one order, wherever its tile lies: neither the number of threads nor the
other samples of a batch can change a bit of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from sparserbm.backends.compiled import FAST, compiled, intrinsic
from sparserbm.backends.numba_kernels import LINEAR, activate, gate
from sparserbm.backends.threads import address, share_range, task
from sparserbm.backends.vectors import BYTES, Emitter, constant, integer, lanes_of

# A tile: twelve vectors of sums, two of the strip and one factor fill the 16 registers of most processors.
ROWS, VECTORS = 6, 2
# What a thread takes at a time: a few blocks of rows, or one where their sums are long, and a chunk of strips. So many
# terms of the sums at a time stay in the cache.
BLOCKS, LONG, CHUNK, DEPTH = 4, 4096, 8, 512


@intrinsic
def _tile(typingctx, left, start, per_row, per_term, terms, strips, begin, vectors, accumulate, out, place, columns):  # type: ignore[no-untyped-def]
    """``out[r, c] = sum over k of left[r, k] * strip[k, c]``, added to `out` if `accumulate`.

    `left` begins at `start` and has its neighbours `per_row` and `per_term` apart; the strip begins at `begin` of
    `strips` and is so many `vectors` wide, 1 or `VECTORS`; the tile begins at `place` of `out`, whose rows are
    `columns` apart.
    """
    signature = types.void(
        left, start, per_row, per_term, terms, strips, begin, vectors, accumulate, out, place, columns
    )

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit, b = Emitter(context, builder, signature, arguments), builder
        scalar = emit.pointer(9).type.pointee
        vector = ir.VectorType(scalar, lanes_of(scalar))
        after = b.append_basic_block("after")
        cases = b.switch(arguments[7], after)
        for width in (1, VECTORS):
            cases.add_case(ir.Constant(arguments[7].type, width), block := b.append_basic_block(f"vectors{width}"))
            b.position_at_end(block)
            _sums(emit, vector, width)
            b.branch(after)
        b.position_at_end(after)
        return context.get_dummy_value()

    return signature, codegen


def _sums(emit: Emitter, vector: Any, width: int) -> None:
    _, start, per_row, per_term, terms, _, begin, _, accumulate, _, place, columns = emit.values
    b, lanes = emit.builder, vector.count
    left, strip, out = (emit.at(emit.pointer(k), at) for k, at in ((0, start), (5, begin), (9, place)))
    rows = [emit.at(left, b.mul(per_row, integer(r))) for r in range(ROWS)]
    places = [b.add(b.mul(columns, integer(r)), integer(v * lanes)) for r in range(ROWS) for v in range(width)]

    def add(k: Any, sums: list[Any]) -> list[Any]:
        first, at = b.mul(k, integer(width * lanes)), b.mul(k, per_term)
        values = [emit.load(strip, b.add(first, integer(v * lanes)), vector) for v in range(width)]
        factors = [emit.splat(b.load(emit.at(row, at)), vector) for row in rows]
        pairs = [(factor, value) for factor in factors for value in values]
        return [emit.multiply_add(*pair, total) for pair, total in zip(pairs, sums)]

    zeros = [constant(vector, 0.0)] * len(places)
    sums = emit.when(accumulate, zeros, lambda _: [emit.load(out, at, vector) for at in places])
    for at, total in zip(places, emit.loop(integer(0), terms, integer(1), sums, add)):
        emit.store(total, out, at)


def strip_width(itemsize: int) -> int:
    """Columns of a strip."""
    return VECTORS * BYTES // itemsize


def rows_at_once(terms: int) -> int:
    """Rows that a thread takes at a time, where sums have so many terms."""
    return ROWS * max(1, min(BLOCKS, LONG // terms))


# -- packing -----------------------------------------------------------------------------------------------------


@compiled()
def pack_strips(lo, hi, right, transposed, scale, strips, wide):
    """Write strips lo to hi of ``scale * right``, or of its transpose; what is beyond the matrix is 0."""
    terms, n = (right.shape[1], right.shape[0]) if transposed else right.shape
    for number in range(lo, hi):
        column, begin = number * wide, number * wide * terms
        there = min(wide, n - column)
        width = wide if there > wide // VECTORS else wide // VECTORS
        if there < width:
            for k in range(begin, begin + terms * width):
                strips[k] = 0
        if not transposed:
            for k in range(terms):
                for c in range(there):
                    strips[begin + k * width + c] = scale * right[k, column + c]
            continue
        for first in range(0, terms, wide):  # square by square: a whole column would leave the cache
            last = min(first + wide, terms)
            for c in range(there):
                for k in range(first, last):
                    strips[begin + k * width + c] = scale * right[column + c, k]


@compiled()
def pack_rows(left, start, count, per_row, per_term, terms, packed):
    """Write fewer rows than a tile has, term after term; what is beyond the matrix is 0."""
    for k in range(terms):
        for r in range(ROWS):
            packed[k * ROWS + r] = left[start + r * per_row + k * per_term] if r < count else packed.dtype.type(0.0)


# -- the product -------------------------------------------------------------------------------------------------


@compiled(fastmath=FAST)
def product_items(
    lo,
    hi,
    left,
    per_row,
    per_term,
    terms,
    strips,
    wide,
    group,
    accumulate,
    out,
    bias,
    activation,
    slope,
    gating,
    slope2,
    activity,
):
    """Items lo to hi: a group of rows times a chunk of columns each, with bias, activation and derivative."""
    rows, n = out.shape
    slope, slope2, groups = out.dtype.type(slope), out.dtype.type(slope2), -(-rows // group)
    packed, corner = np.empty(ROWS * DEPTH, out.dtype), np.empty((ROWS, wide), out.dtype)
    for item in range(lo, hi):
        row, column = item % groups * group, item // groups * (CHUNK * wide)
        stop, end = min(row + group, rows), min(column + CHUNK * wide, n)
        for first in range(0, terms, DEPTH):
            some, more = min(DEPTH, terms - first), accumulate or first > 0
            for r in range(row, stop, ROWS):
                source, start, to_row, to_term = left, r * per_row + first * per_term, per_row, per_term
                if stop - r < ROWS:
                    pack_rows(left, start, stop - r, per_row, per_term, some, packed)
                    source, start, to_row, to_term = packed, 0, 1, ROWS
                for c in range(column, end, wide):
                    there = min(wide, n - c)
                    vectors = VECTORS if there > wide // VECTORS else 1
                    width = vectors * wide // VECTORS
                    begin, target, place, columns = c * terms + first * width, out, r * n + c, n
                    beyond = stop - r < ROWS or there < width  # the tile reaches beyond the matrix
                    if beyond:
                        target, place, columns = corner, 0, wide
                        copy(out, r, c, corner, 0, 0, min(ROWS, stop - r), there)
                    _tile(source, start, to_row, to_term, some, strips, begin, vectors, more, target, place, columns)
                    if beyond:
                        copy(corner, 0, 0, out, r, c, min(ROWS, stop - r), there)
        for r in range(row, stop):
            values = out[r, column:end]
            if bias.size > 0:
                for c in range(values.size):
                    values[c] += bias[r]
            activate(values, activation, slope)
            if gating != LINEAR:
                gate(values, gating, slope2, activity[r, column:end])


@compiled()
def copy(source, row, column, target, to_row, to_column, rows, columns):
    for r in range(rows):
        for c in range(columns):
            target[to_row + r, to_column + c] = source[row + r, column + c]


@compiled()
def product(
    state,
    shares,
    left,
    per_row,
    per_term,
    right,
    transposed,
    scale,
    strips,
    wide,
    group,
    accumulate,
    out,
    bias,
    activation,
    slope,
    gating,
    slope2,
    activity,
):
    """``out = f(left @ (scale * right) + bias)``, with `right` transposed if `transposed` is set (see `Backend.spmm`).

    Parameters
    ----------
    left : (n_rows * n_terms,)
        Neighbours in a row are `per_term` apart, rows `per_row`.
    right : (n_terms, n_columns) or, to be transposed, (n_columns, n_terms)
    strips : (at least the size of `right` with its columns rounded up to a multiple of `wide`,)
        Scratch memory.
    wide, group : int
        See `strip_width` and `rows_at_once`.
    accumulate : bool
        Add to what is in `out`, before bias and activation.
    """
    rows, n = out.shape
    n_strips = -(-n // wide)
    packing = (right, transposed, scale, strips, wide)
    share_range(state, min(shares, n_strips), n_strips, task(pack_strips, packing), address(packing))
    rest = (strips, wide, group, accumulate, out, bias, activation, slope, gating, slope2, activity)
    arguments = (left, per_row, per_term, right.size // n, *rest)
    items = -(-rows // group) * -(-n_strips // CHUNK)
    share_range(state, min(shares, items), items, task(product_items, arguments), address(arguments))
