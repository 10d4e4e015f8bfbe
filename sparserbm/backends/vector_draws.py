"""Philox4x32-10 as vector instructions (Salmon et al. 2011; see `rng` and `reference.philox_words`)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from sparserbm.backends.base import LANES
from sparserbm.backends.compiled import intrinsic
from sparserbm.backends.vectors import INT32, INT64, Emitter, constant, integer

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF


def _store_tile(emit: Emitter, tile: Any, unit: Any, key: list[Any], words: Any, offset: Any) -> None:
    """The 32 words of one tile of samples, written to ``words[offset:]``; `key` is (key0, key1, step, draw)."""
    b, kind = emit.builder, ir.VectorType(INT64, LANES)
    low = constant(kind, LOW)
    # 64-bit lanes that hold 32-bit words: a product needs no shuffling that way.
    lanes = ir.Constant(kind, list(range(LANES)))
    first = b.and_(b.add(emit.splat(b.mul(tile, integer(LANES)), kind), lanes), low)
    c0, c1, c2, c3 = first, *(b.and_(emit.splat(word, kind), low) for word in (unit, key[3], key[2]))
    k0, k1 = key[0], key[1]
    m0, m1 = (constant(kind, multiplier) for multiplier in MULTIPLIERS)
    half = constant(kind, 32)
    for _ in range(10):
        p0, p1 = b.mul(c0, m0), b.mul(c2, m1)
        c0, c2 = (
            b.xor(b.xor(b.lshr(p1, half), c1), emit.splat(k0, kind)),
            b.xor(b.xor(b.lshr(p0, half), c3), emit.splat(k1, kind)),
        )
        c1, c3 = b.and_(p1, low), b.and_(p0, low)
        k0, k1 = (b.and_(b.add(k, integer(weyl)), integer(LOW)) for k, weyl in zip((k0, k1), WEYL))
    for number, word in enumerate((c0, c1, c2, c3)):
        emit.store(b.trunc(word, ir.VectorType(INT32, LANES)), words, b.add(offset, integer(number * LANES)))


@intrinsic
def fill_tile(typingctx, tile, unit, key0, key1, step, draw, words):  # type: ignore[no-untyped-def]
    """The 32 words of one tile of samples, written to `words`, (32,) uint32."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = Emitter(context, builder, signature, arguments)
        tile, unit, *key, _ = arguments
        _store_tile(emit, tile, unit, key, emit.pointer(6), integer(0))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, words), codegen
