"""A writer of vector instructions for numba's intrinsics, and the elementary functions that the products need.

LLVM's vectoriser makes loops over a batch 32 samples wide and leaves the rest to scalar code, which at batch 10 is all
of it (docs/decisions/0005). Code with LLVM's own vectors compiles for every processor that numba knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from sparserbm.backends.compiled import intrinsic

BYTES = 32  # of one vector: 8 float32 or 4 float64; a processor with shorter vectors takes two
CONTRACT = ("contract",)  # multiplication and addition may be fused; NaN and infinity stay

INT32, INT64 = ir.IntType(32), ir.IntType(64)


def integer(value: int) -> ir.Constant:
    return ir.Constant(INT64, value)


class Emitter:
    """Writes instructions for one call: arrays of `signature` are C-contiguous."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]):
        if any(isinstance(kind, types.Array) and kind.layout != "C" for kind in signature.args):
            raise TypeError("kernels need C-contiguous arrays; pass numpy.ascontiguousarray(...)")
        self.builder, self.values = builder, arguments
        self.arrays: list[Any] = [
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
        return self.builder.sext(self.builder.load(self.at(pointer, offset)), INT64)

    def load(self, pointer: Any, offset: Any, kind: Any) -> Any:
        place = self.builder.bitcast(self.at(pointer, offset), kind.as_pointer())
        return self.builder.load(place, align=size_of(kind))

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        place = self.builder.bitcast(self.at(pointer, offset), value.type.as_pointer())
        self.builder.store(value, place, align=size_of(value.type))

    def splat(self, value: Any, kind: Any) -> Any:
        if not isinstance(kind, ir.VectorType):
            return value
        empty = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(empty, value, ir.Constant(INT32, 0))
        return self.shuffle(first, empty, [0] * kind.count)

    def shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(lanes)), lanes))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.fadd(self.builder.fmul(a, b, flags=CONTRACT), c, flags=CONTRACT)

    def smaller(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def first_lanes(self, count: Any, lanes: int) -> Any:
        """True in the first `count` lanes."""
        numbers = ir.VectorType(INT64, lanes)
        return self.builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), self.splat(count, numbers))

    def loop(self, start: Any, stop: Any, step: Any, carried: list[Any], body: Callable) -> list[Any]:
        """``for k in range(start, stop, step): carried = body(k, carried)``; returns the last `carried`."""
        b, before = self.builder, self.builder.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(INT64)
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


def size_of(kind: Any) -> int:
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    return 4 if isinstance(element, ir.FloatType) else 8


def lanes_of(scalar: Any) -> int:
    return BYTES // size_of(scalar)


# -- elementary functions ----------------------------------------------------------------------------------------


def constant(kind: Any, value: float) -> ir.Constant:
    """A number, or a vector of the same number, as `kind` asks."""
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def int32_beside(kind: Any) -> Any:
    """int32, as many as `kind` has lanes."""
    return ir.VectorType(INT32, kind.count) if isinstance(kind, ir.VectorType) else INT32


def exponential_of(emit: Emitter, x: Any) -> Any:
    """exp(x); float32 by a polynomial (relative error below 2e-7 for |x| < 87), float64 by the mathematical library."""
    b = emit.builder
    if size_of(x.type) == 8:
        return _library_exponential(emit, x)
    # exp(x) = 2**n * exp(r), |r| <= ln(2) / 2: a Taylor polynomial for exp(r), n written into the exponent bits.
    # The conversion to int32 truncates a positive number, which rounds n. Compared this way round, NaN stays NaN.
    x = b.select(b.fcmp_ordered("<", x, constant(x.type, -87.0)), constant(x.type, -87.0), x)
    x = b.select(b.fcmp_ordered(">", x, constant(x.type, 88.0)), constant(x.type, 88.0), x)
    kind = int32_beside(x.type)
    biased = b.fptosi(emit.multiply_add(x, constant(x.type, 1.44269504), constant(x.type, 127.5)), kind)
    n = b.fsub(b.sitofp(biased, x.type), constant(x.type, 127.0))
    r = emit.multiply_add(n, constant(x.type, -0.693359375), x)
    r = emit.multiply_add(n, constant(x.type, 2.12194440e-4), r)
    p = constant(x.type, 1.0 / 5040.0)
    for term in (1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0):
        p = emit.multiply_add(p, r, constant(x.type, term))
    return b.fmul(p, b.bitcast(b.shl(biased, constant(kind, 23)), x.type))


def _library_exponential(emit: Emitter, x: Any) -> Any:
    b, kind = emit.builder, ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.exp.f64")
    if not isinstance(x.type, ir.VectorType):
        return b.call(function, [x])
    result = ir.Constant(x.type, ir.Undefined)
    for lane in (ir.Constant(INT32, k) for k in range(x.type.count)):
        result = b.insert_element(result, b.call(function, [b.extract_element(x, lane)]), lane)
    return result


@intrinsic
def exponential(typingctx, x):  # type: ignore[no-untyped-def]
    """exp(x) of one number; a loop of it is vectorised by the compiler."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return exponential_of(Emitter(context, builder, signature, arguments), arguments[0])

    return x(x), codegen


def _sigmoid(emit: Emitter, x: Any, slope: Any) -> Any:
    b, one = emit.builder, constant(x.type, 1.0)
    return b.fdiv(one, b.fadd(one, exponential_of(emit, b.fsub(constant(x.type, -0.0), x))))


def _relu(emit: Emitter, x: Any, slope: Any) -> Any:
    b = emit.builder
    return b.select(b.fcmp_ordered(">", x, constant(x.type, 0.0)), x, b.fmul(x, slope))  # NaN stays NaN


def _tanh(emit: Emitter, x: Any, slope: Any) -> Any:
    b, one, two = emit.builder, constant(x.type, 1.0), constant(x.type, 2.0)
    return b.fsub(one, b.fdiv(two, b.fadd(one, exponential_of(emit, b.fmul(two, x)))))


def _sigmoid_gate(emit: Emitter, x: Any, slope: Any, activity: Any) -> Any:
    b = emit.builder
    return b.fmul(x, b.fmul(activity, b.fsub(constant(x.type, 1.0), activity)))


def _relu_gate(emit: Emitter, x: Any, slope: Any, activity: Any) -> Any:
    b = emit.builder
    return b.select(b.fcmp_ordered(">", activity, constant(x.type, 0.0)), x, b.fmul(x, slope))


def _tanh_gate(emit: Emitter, x: Any, slope: Any, activity: Any) -> Any:
    b = emit.builder
    return b.fmul(x, b.fsub(constant(x.type, 1.0), b.fmul(activity, activity)))


# In the order of `ACTIVATIONS`, from 1: linear units need nothing.
ACTIVATED = (_sigmoid, _relu, _tanh)
GATED = (_sigmoid_gate, _relu_gate, _tanh_gate)
