"""How p values are written."""

from __future__ import annotations

SMALLEST_P = 1e-15  # farther out nobody knows how good the normal approximation is


def p_text(p: float) -> str:
    """In words for a sentence, e.g. "p = 0.012"."""
    return f"p {'<' if p < SMALLEST_P else '='} {p_number(p).removeprefix('< ')}"


def p_number(p: float) -> str:
    """For a table, e.g. "0.012", "3e-5", "< 1e-15"."""
    if p < SMALLEST_P:
        return f"< {_short(SMALLEST_P)}"
    return _short(p) if p < 1e-3 else f"{p:.2g}"


def _short(p: float) -> str:
    digits, power = f"{p:.0e}".split("e")
    return f"{digits}e\N{MINUS SIGN}{abs(int(power))}"
