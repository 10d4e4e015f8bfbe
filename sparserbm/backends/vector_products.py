"""The inner loops of the two products, as vector instructions.

Two ideas carry them. Sums stay in registers while the connections of a row go by; activation and derivative are applied
there. And a batch that is no multiple of the vector length ends with a vector that overlaps the one before: storing a
sample's sum twice does no harm, and a sampled product masks what it has already seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from sparserbm.backends.compiled import intrinsic
from sparserbm.backends.vectors import ACTIVATED, GATED, Emitter, constant, integer, lanes_of

AT_ONCE = 8  # vectors of sums held in registers


# -- weighted sums -----------------------------------------------------------------------------------------------


@intrinsic
def weighted_sum(  # type: ignore[no-untyped-def]
    typingctx, row, first, last, index, order, weight, start, x, out, activation, slope, gate, slope2, activity
):
    """``out[row] = f(start + sum of weight[e] * x[index[e]])`` over the connections `first` to `last` (excluded).

    Where `order` is not empty, the weight is ``weight[order[e]]``. f is `activation`; `gate` multiplies by the
    derivative of another one, given its `activity`; both are numbers of `ACTIVATIONS`, with a slope each. The caller
    sees to it that the batch has as many samples as a vector has lanes.
    """
    signature = types.void(
        row, first, last, index, order, weight, start, x, out, activation, slope, gate, slope2, activity
    )

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = Emitter(context, builder, signature, arguments)
        scalar = emit.pointer(7).type.pointee
        _sums_of_row(emit, ir.VectorType(scalar, lanes_of(scalar)))
        return context.get_dummy_value()

    return signature, codegen


def _sums_of_row(emit: Emitter, vector: Any) -> None:
    """All samples of one row, up to `AT_ONCE` vectors of them for one pass over the connections."""
    b, n, lanes = emit.builder, emit.columns(7), integer(vector.count)

    def some_columns(column: Any, carried: list[Any]) -> list[Any]:
        left = b.sub(n, column)
        count = emit.smaller(b.sdiv(b.add(left, b.sub(lanes, integer(1))), lanes), integer(AT_ONCE))
        # The last vector of the row ends with the row.
        final = emit.smaller(b.mul(b.sub(count, integer(1)), lanes), b.sub(left, lanes))
        after = b.append_basic_block("after")
        cases = b.switch(count, after)
        for number in range(1, AT_ONCE + 1):
            cases.add_case(integer(number), block := b.append_basic_block(f"vectors{number}"))
            b.position_at_end(block)
            offsets = [b.add(column, b.mul(lanes, integer(k))) for k in range(number - 1)] + [b.add(column, final)]
            _finish(emit, offsets, _sums_of_columns(emit, vector, offsets))
            b.branch(after)
        b.position_at_end(after)
        return []

    emit.loop(integer(0), n, b.mul(lanes, integer(AT_ONCE)), [], some_columns)


def _sums_of_columns(emit: Emitter, vector: Any, offsets: list[Any]) -> list[Any]:
    """One pass over the connections of the row, for a vector of samples from each offset."""
    _, first, last, _, _, _, start, *_ = emit.values
    index, order, weight, x, n = *(emit.pointer(k) for k in (3, 4, 5, 7)), emit.columns(7)
    b = emit.builder

    def add(place: Any, e: Any, sums: list[Any]) -> list[Any]:
        factor = emit.splat(b.load(emit.at(weight, place)), vector)
        source = emit.at(x, b.mul(emit.index(index, e), n))
        return [emit.multiply_add(factor, emit.load(source, at, vector), total) for at, total in zip(offsets, sums)]

    # One of the two loops is empty.
    switch = b.select(b.icmp_signed(">", emit.arrays[4].nitems, integer(0)), first, last)
    sums = [emit.splat(start, vector)] * len(offsets)
    sums = emit.loop(first, switch, integer(1), sums, lambda e, carried: add(e, e, carried))
    return emit.loop(switch, last, integer(1), sums, lambda e, carried: add(emit.index(order, e), e, carried))


def _finish(emit: Emitter, offsets: list[Any], sums: list[Any]) -> None:
    """Activation and derivative, still in registers."""
    b, (row, *_, activation, slope, gate, slope2, _) = emit.builder, emit.values
    slope, slope2 = (emit.splat(given, sums[0].type) for given in (slope, slope2))
    sums = _choose(emit, activation, ACTIVATED, [(total, slope) for total in sums])

    def gated(values: list[Any]) -> list[Any]:
        source, kind = emit.row(13, row), values[0].type
        given = [(total, slope2, emit.load(source, at, kind)) for at, total in zip(offsets, values)]
        return _choose(emit, gate, GATED, given)

    sums = emit.when(b.icmp_signed("!=", gate, integer(0)), sums, gated)
    target = emit.row(8, row)
    for at, total in zip(offsets, sums):
        emit.store(total, target, at)


def _choose(emit: Emitter, number: Any, functions: Sequence[Callable], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """``functions[number - 1](*argument)`` for every argument, the first part of them where `number` is 0."""
    values = [first for first, *_ in arguments]
    for place, function in enumerate(functions, start=1):
        chosen = emit.builder.icmp_signed("==", number, integer(place))
        values = emit.when(chosen, values, lambda _, f=function: [f(emit, *argument) for argument in arguments])
    return values


# -- sampled products --------------------------------------------------------------------------------------------


@intrinsic
def sampled_products(typingctx, row, first, last, index, x, y, scale, accumulate, out):  # type: ignore[no-untyped-def]
    """``out[e] = scale * x[index[e]] . y[row]`` for the connections `first` to `last`, added where `accumulate` is set.

    As many connections go together as a vector has lanes: their sums end up side by side in one vector. The caller
    sees to it that the row has as many connections, and the batch as many samples.
    """
    signature = types.void(row, first, last, index, x, y, scale, accumulate, out)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = Emitter(context, builder, signature, arguments)
        _, first, last, _, _, _, scale, accumulate, _ = arguments
        b, out = builder, emit.pointer(8)
        vector = ir.VectorType(out.type.pointee, lanes_of(out.type.pointee))
        together, final = integer(vector.count), b.sub(last, integer(vector.count))
        dots = _dots(emit, vector)

        def group(e: Any, carried: list[Any]) -> list[Any]:
            begin = emit.smaller(e, final)  # the last group overlaps the one before
            sums = b.fmul(dots(begin), emit.splat(scale, vector))

            def add(values: list[Any]) -> list[Any]:
                before = emit.load(out, begin, vector)
                seen = emit.first_lanes(b.sub(e, begin), vector.count)
                return [b.select(seen, before, b.fadd(before, values[0]))]

            (result,) = emit.when(accumulate, [sums], add)
            emit.store(result, out, begin)
            return []

        emit.loop(first, last, together, [], group)
        return context.get_dummy_value()

    return signature, codegen


def _dots(emit: Emitter, vector: Any) -> Callable[[Any], Any]:
    """A function of e: dot products of as many connections as there are lanes, from e on, in one vector."""
    b, lanes, n = emit.builder, vector.count, emit.columns(4)
    zero = constant(vector, 0.0)
    other = emit.row(5, emit.values[0])
    stop = b.mul(b.sdiv(n, integer(lanes)), integer(lanes))
    ragged, end = b.icmp_signed("<", stop, n), b.sub(n, integer(lanes))
    seen = emit.first_lanes(b.sub(stop, end), lanes)

    def dots(e: Any) -> Any:
        sources = [emit.row(4, emit.index(emit.pointer(3), b.add(e, integer(k)))) for k in range(lanes)]

        def add(c: Any, values: Any, sums: list[Any]) -> list[Any]:
            return [emit.multiply_add(values, emit.load(at, c, vector), total) for at, total in zip(sources, sums)]

        def columns(c: Any, sums: list[Any]) -> list[Any]:
            return add(c, emit.load(other, c, vector), sums)

        def last_columns(sums: list[Any]) -> list[Any]:
            return add(end, b.select(seen, zero, emit.load(other, end, vector)), sums)

        sums = emit.loop(integer(0), stop, integer(lanes), [zero] * lanes, columns)
        return _sums_side_by_side(emit, emit.when(ragged, sums, last_columns))

    return dots


def _sums_side_by_side(emit: Emitter, vectors: list[Any]) -> Any:
    """Lane k of the result is the sum over vector k: pairs are added, half a register apart from the other half."""
    half = len(vectors) // 2
    even = [at + k for at in (0, half) for source in (0, 2 * half) for k in range(source, source + half, 2)]
    odd = [lane + 1 for lane in even]
    while len(vectors) > 2:
        vectors = [
            emit.builder.fadd(emit.shuffle(a, b, even), emit.shuffle(a, b, odd))
            for a, b in zip(vectors[::2], vectors[1::2])
        ]
    low = [*range(half), *range(2 * half, 3 * half)]
    a, b = vectors
    return emit.builder.fadd(emit.shuffle(a, b, low), emit.shuffle(a, b, [lane + half for lane in low]))
