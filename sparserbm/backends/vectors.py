"""The inner loops of the products, written as vector instructions.

LLVM's vectoriser makes these loops 32 samples wide and leaves the rest of a batch to scalar code: measured on one core,
a plain loop reaches 3 GFLOP/s at batch 10 and 14 at batch 100, where these reach 12 and 24. They are numba intrinsics
that build LLVM's own vectors, so they compile for every processor that numba knows.

Two ideas carry them. Sums stay in registers while the connections of a row go by. And a batch that is no multiple of the
vector length ends with a vector that overlaps the one before: storing a sample's sum twice does no harm, everything else
masks what it has already seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BYTES = 32  # of one vector: 8 float32 or 4 float64; a processor with shorter vectors takes two
AT_ONCE = 8  # vectors of sums held in registers
CONTRACT = ("contract",)  # multiplication and addition may be fused; NaN and infinity stay

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)


def _int(value: int) -> ir.Constant:
    return ir.Constant(_INT64, value)


class _Emitter:
    """Writes instructions for one call: arrays of `signature` are C-contiguous."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]):
        self.builder, self.values = builder, arguments
        self.arrays = [
            context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else None
            for kind, value in zip(signature.args, arguments)
        ]

    def pointer(self, argument: int) -> Any:
        return self.arrays[argument].data

    def columns(self, argument: int) -> Any:
        return self.builder.extract_value(self.arrays[argument].shape, 1)

    def row(self, argument: int, row: Any) -> Any:
        """Address of the first element of a row."""
        return self.at(self.pointer(argument), self.builder.mul(row, self.columns(argument)))

    def at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.gep(pointer, [offset])

    def index(self, pointer: Any, offset: Any) -> Any:
        """An int32 of an index array, as int64."""
        return self.builder.sext(self.builder.load(self.at(pointer, offset)), _INT64)

    def load(self, pointer: Any, offset: Any, kind: Any) -> Any:
        place = self.builder.bitcast(self.at(pointer, offset), kind.as_pointer())
        return self.builder.load(place, align=_size(kind))

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        place = self.builder.bitcast(self.at(pointer, offset), value.type.as_pointer())
        self.builder.store(value, place, align=_size(value.type))

    def splat(self, value: Any, kind: Any) -> Any:
        if not isinstance(kind, ir.VectorType):
            return value
        empty = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(empty, value, ir.Constant(_INT32, 0))
        return self.shuffle(first, empty, [0] * kind.count)

    def shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT32, len(lanes)), lanes))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.fadd(self.builder.fmul(a, b, flags=CONTRACT), c, flags=CONTRACT)

    def smaller(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def loop(self, start: Any, stop: Any, step: Any, carried: list[Any], body: Callable) -> list[Any]:
        """``for k in range(start, stop, step): carried = body(k, carried)``; returns the last `carried`."""
        b, before = self.builder, self.builder.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(_INT64)
        k.add_incoming(start, before)
        values = [b.phi(value.type) for value in carried]
        for phi, value in zip(values, carried):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", k, stop), inside, after)
        b.position_at_end(inside)
        for phi, value in zip(values, body(k, values)):
            phi.add_incoming(value, b.block)
        k.add_incoming(b.add(k, step), b.block)
        b.branch(head)
        b.position_at_end(after)
        return values

    def when(self, condition: Any, carried: list[Any], body: Callable) -> list[Any]:
        """``if condition: carried = body(carried)``; returns what is carried on."""
        b, before = self.builder, self.builder.block
        inside, after = (b.append_basic_block(name) for name in ("then", "after"))
        b.cbranch(condition, inside, after)
        b.position_at_end(inside)
        changed, last = body(carried), b.block
        b.branch(after)
        b.position_at_end(after)
        values = [b.phi(value.type) for value in carried]
        for phi, old, new in zip(values, carried, changed):
            phi.add_incoming(old, before)
            phi.add_incoming(new, last)
        return values


def _size(kind: Any) -> int:
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    return 4 if isinstance(element, ir.FloatType) else 8


def _lanes(scalar: Any) -> int:
    return BYTES // _size(scalar)


# -- weighted sums -----------------------------------------------------------------------------------------------


@intrinsic
def weighted_sum(  # type: ignore[no-untyped-def]
    typingctx, row, first, last, index, order, weight, start, x, out, activation, gate, activity
):
    """``out[row] = f(start + sum of weight[e] * x[index[e]])`` over the connections `first` to `last` (excluded).

    `order` is None, or an array: then the weight is ``weight[order[e]]``. f is `activation`; `gate` multiplies by the
    derivative of another one, given its `activity`; both are numbers of `ACTIVATIONS`.
    """
    signature = types.void(row, first, last, index, order, weight, start, x, out, activation, gate, activity)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = _Emitter(context, builder, signature, arguments)
        scalar = emit.pointer(7).type.pointee
        vector = ir.VectorType(scalar, _lanes(scalar))
        wide = builder.icmp_signed(">=", emit.columns(7), _int(vector.count))
        with builder.if_else(wide) as (then, otherwise):
            with then:
                _sums_of_row(emit, vector)
            with otherwise:
                _sums_of_row(emit, scalar)
        return context.get_dummy_value()

    return signature, codegen


def _sums_of_row(emit: _Emitter, kind: Any) -> None:
    """All samples of one row, up to `AT_ONCE` vectors of them for one pass over the connections."""
    b, n = emit.builder, emit.columns(7)
    lanes = _int(kind.count if isinstance(kind, ir.VectorType) else 1)
    stride = b.mul(lanes, _int(AT_ONCE))

    def some_columns(column: Any, carried: list[Any]) -> list[Any]:
        left = b.sub(n, column)
        count = emit.smaller(b.sdiv(b.add(left, b.sub(lanes, _int(1))), lanes), _int(AT_ONCE))
        # The last vector of the row ends with the row.
        final = emit.smaller(b.mul(b.sub(count, _int(1)), lanes), b.sub(left, lanes))
        after = b.append_basic_block("after")
        cases = b.switch(count, after)
        for number in range(1, AT_ONCE + 1):
            cases.add_case(_int(number), block := b.append_basic_block(f"vectors{number}"))
            b.position_at_end(block)
            offsets = [b.add(column, b.mul(lanes, _int(k))) for k in range(number - 1)] + [b.add(column, final)]
            _sums_of_columns(emit, kind, offsets)
            b.branch(after)
        b.position_at_end(after)
        return []

    emit.loop(_int(0), n, stride, [], some_columns)


def _sums_of_columns(emit: _Emitter, kind: Any, offsets: list[Any]) -> None:
    row, first, last, _, _, _, start, _, _, activation, gate, _ = emit.values
    index, weight, x, n = emit.pointer(3), emit.pointer(5), emit.pointer(7), emit.columns(7)
    b = emit.builder

    def connection(e: Any, sums: list[Any]) -> list[Any]:
        place = e if emit.arrays[4] is None else emit.index(emit.pointer(4), e)
        factor = emit.splat(b.load(emit.at(weight, place)), kind)
        source = emit.at(x, b.mul(emit.index(index, e), n))
        return [emit.multiply_add(factor, emit.load(source, at, kind), total) for at, total in zip(offsets, sums)]

    sums = emit.loop(first, last, _int(1), [emit.splat(start, kind)] * len(offsets), connection)
    sums = _choose(emit, activation, ACTIVATED, [(total,) for total in sums])

    def gated(values: list[Any]) -> list[Any]:
        source = emit.row(11, row)
        return _choose(emit, gate, GATED, [(total, emit.load(source, at, kind)) for at, total in zip(offsets, values)])

    sums = emit.when(b.icmp_signed("!=", gate, _int(0)), sums, gated)
    target = emit.row(8, row)
    for at, total in zip(offsets, sums):
        emit.store(total, target, at)


def _choose(emit: _Emitter, number: Any, functions: Sequence[Callable], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """``functions[number - 1](*argument)`` for every argument, the first part of them where `number` is 0."""
    values = [first for first, *_ in arguments]
    for place, function in enumerate(functions, start=1):
        chosen = emit.builder.icmp_signed("==", number, _int(place))
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
        emit = _Emitter(context, builder, signature, arguments)
        _, first, last, _, _, _, scale, accumulate, _ = arguments
        b, out = builder, emit.pointer(8)
        vector = ir.VectorType(out.type.pointee, _lanes(out.type.pointee))
        together, final = _int(vector.count), b.sub(last, _int(vector.count))
        dots = _dots(emit, vector)

        def group(e: Any, carried: list[Any]) -> list[Any]:
            begin = emit.smaller(e, final)  # the last group overlaps the one before
            sums = b.fmul(dots(begin), emit.splat(scale, vector))

            def add(values: list[Any]) -> list[Any]:
                before = emit.load(out, begin, vector)
                seen = _first_lanes(emit, b.sub(e, begin), vector.count)
                return [b.select(seen, before, b.fadd(before, values[0]))]

            (result,) = emit.when(accumulate, [sums], add)
            emit.store(result, out, begin)
            return []

        emit.loop(first, last, together, [], group)
        return context.get_dummy_value()

    return signature, codegen


def _first_lanes(emit: _Emitter, count: Any, lanes: int) -> Any:
    """True in the first `count` lanes."""
    numbers = ir.VectorType(_INT64, lanes)
    return emit.builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), emit.splat(count, numbers))


def _dots(emit: _Emitter, vector: Any) -> Callable[[Any], Any]:
    """A function of e: dot products of as many connections as there are lanes, from e on, in one vector."""
    b, lanes, n = emit.builder, vector.count, emit.columns(4)
    zero = ir.Constant(vector, [0.0] * lanes)
    other = emit.row(5, emit.values[0])
    stop = b.mul(b.sdiv(n, _int(lanes)), _int(lanes))
    ragged, end = b.icmp_signed("<", stop, n), b.sub(n, _int(lanes))
    seen = _first_lanes(emit, b.sub(stop, end), lanes)

    def dots(e: Any) -> Any:
        sources = [emit.row(4, emit.index(emit.pointer(3), b.add(e, _int(k)))) for k in range(lanes)]

        def add(c: Any, values: Any, sums: list[Any]) -> list[Any]:
            return [emit.multiply_add(values, emit.load(at, c, vector), total) for at, total in zip(sources, sums)]

        def columns(c: Any, sums: list[Any]) -> list[Any]:
            return add(c, emit.load(other, c, vector), sums)

        def last_columns(sums: list[Any]) -> list[Any]:
            return add(end, b.select(seen, zero, emit.load(other, end, vector)), sums)

        sums = emit.loop(_int(0), stop, _int(lanes), [zero] * lanes, columns)
        return _sums_side_by_side(emit, emit.when(ragged, sums, last_columns))

    return dots


def _sums_side_by_side(emit: _Emitter, vectors: list[Any]) -> Any:
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


# -- elementwise work on a row -----------------------------------------------------------------------------------


def _rowwise(function: Callable, n_inputs: int) -> Any:
    """An intrinsic that does ``out[row] = function(out[row], *inputs[row])``, in place."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = _Emitter(context, builder, signature, arguments)
        n, rows = emit.columns(1), [emit.row(k, arguments[0]) for k in range(1, 2 + n_inputs)]
        scalar = rows[0].type.pointee
        vector = ir.VectorType(scalar, _lanes(scalar))
        lanes = _int(vector.count)

        def value(c: Any, kind: Any) -> Any:
            return function(emit, *(emit.load(place, c, kind) for place in rows))

        def vectors(c: Any, carried: list[Any]) -> list[Any]:
            emit.store(value(c, vector), rows[0], c)
            return []

        def last_vector(carried: list[Any]) -> list[Any]:
            end = builder.sub(n, lanes)
            seen = _first_lanes(emit, builder.sub(stop, end), vector.count)
            emit.store(builder.select(seen, emit.load(rows[0], end, vector), value(end, vector)), rows[0], end)
            return []

        def scalars(c: Any, carried: list[Any]) -> list[Any]:
            emit.store(value(c, scalar), rows[0], c)
            return []

        stop = builder.mul(builder.sdiv(n, lanes), lanes)
        with builder.if_else(builder.icmp_signed(">=", n, lanes)) as (then, otherwise):
            with then:
                emit.loop(_int(0), stop, lanes, [], vectors)
                emit.when(builder.icmp_signed("<", stop, n), [], last_vector)
            with otherwise:
                emit.loop(_int(0), n, _int(1), [], scalars)
        return context.get_dummy_value()

    if n_inputs:

        @intrinsic
        def rowwise(typingctx, row, out, other):  # type: ignore[no-untyped-def]
            return types.void(row, out, other), codegen
    else:

        @intrinsic
        def rowwise(typingctx, row, out):  # type: ignore[no-untyped-def]
            return types.void(row, out), codegen

    return rowwise


def _like(x: Any, value: float) -> ir.Constant:
    return ir.Constant(x.type, [value] * x.type.count if isinstance(x.type, ir.VectorType) else value)


def _integers(x: Any) -> Any:
    """int32, as many as x has lanes."""
    return ir.VectorType(_INT32, x.type.count) if isinstance(x.type, ir.VectorType) else _INT32


def _exponential(emit: _Emitter, x: Any) -> Any:
    """exp(x); float32 by a polynomial (relative error below 2e-7 for |x| < 87), float64 by the mathematical library."""
    b = emit.builder
    if _size(x.type) == 8:
        return _library_exponential(emit, x)
    # exp(x) = 2**n * exp(r), |r| <= ln(2) / 2: a Taylor polynomial for exp(r), n written into the exponent bits.
    # The conversion to int32 truncates a positive number, which rounds n. Compared this way round, NaN stays NaN.
    x = b.select(b.fcmp_ordered("<", x, _like(x, -87.0)), _like(x, -87.0), x)
    x = b.select(b.fcmp_ordered(">", x, _like(x, 88.0)), _like(x, 88.0), x)
    kind = _integers(x)
    biased = b.fptosi(emit.multiply_add(x, _like(x, 1.44269504), _like(x, 127.5)), kind)
    n = b.fsub(b.sitofp(biased, x.type), _like(x, 127.0))
    r = emit.multiply_add(n, _like(x, -0.693359375), x)
    r = emit.multiply_add(n, _like(x, 2.12194440e-4), r)
    p = _like(x, 1.0 / 5040.0)
    for term in (1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0):
        p = emit.multiply_add(p, r, _like(x, term))
    shift = ir.Constant(kind, [23] * kind.count if isinstance(kind, ir.VectorType) else 23)
    return b.fmul(p, b.bitcast(b.shl(biased, shift), x.type))


def _library_exponential(emit: _Emitter, x: Any) -> Any:
    b, kind = emit.builder, ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.exp.f64")
    if not isinstance(x.type, ir.VectorType):
        return b.call(function, [x])
    result = ir.Constant(x.type, ir.Undefined)
    for lane in (ir.Constant(_INT32, k) for k in range(x.type.count)):
        result = b.insert_element(result, b.call(function, [b.extract_element(x, lane)]), lane)
    return result


@intrinsic
def exponential(typingctx, x):  # type: ignore[no-untyped-def]
    """exp(x) of one number; a loop of it is vectorised by the compiler."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _exponential(_Emitter(context, builder, signature, arguments), arguments[0])

    return x(x), codegen


def _sigmoid(emit: _Emitter, x: Any) -> Any:
    b, one = emit.builder, _like(x, 1.0)
    return b.fdiv(one, b.fadd(one, _exponential(emit, b.fsub(_like(x, -0.0), x))))


def _relu(emit: _Emitter, x: Any) -> Any:
    b = emit.builder
    return b.select(b.fcmp_ordered(">", x, _like(x, 0.0)), x, b.fmul(x, _like(x, 0.0)))  # NaN stays NaN


def _tanh(emit: _Emitter, x: Any) -> Any:
    b, one, two = emit.builder, _like(x, 1.0), _like(x, 2.0)
    return b.fsub(one, b.fdiv(two, b.fadd(one, _exponential(emit, b.fmul(two, x)))))


def _sigmoid_gate(emit: _Emitter, x: Any, activity: Any) -> Any:
    b = emit.builder
    return b.fmul(x, b.fmul(activity, b.fsub(_like(x, 1.0), activity)))


def _relu_gate(emit: _Emitter, x: Any, activity: Any) -> Any:
    b = emit.builder
    return b.select(b.fcmp_ordered(">", activity, _like(x, 0.0)), x, b.fmul(x, _like(x, 0.0)))


def _tanh_gate(emit: _Emitter, x: Any, activity: Any) -> Any:
    b = emit.builder
    return b.fmul(x, b.fsub(_like(x, 1.0), b.fmul(activity, activity)))


# In the order of `ACTIVATIONS`, from 1: linear units need nothing.
ACTIVATED = (_sigmoid, _relu, _tanh)
GATED = (_sigmoid_gate, _relu_gate, _tanh_gate)
