"""Text to rule objects and back: ``"set(zeta=0.3)"`` <-> ``SET(zeta=0.3)``.

A rule is a small frozen dataclass registered under a kind (``"drop"``, ``"grow"``, ``"schedule"`` ...) and a
name. The same text works in Python, on the command line, in a TOML file and in a checkpoint. The parser reads
literals only (``ast.literal_eval``): a text never runs code. A nested call, as in
``"l2(linear(0, 1e-3, steps=5000))"``, reaches the rule as text; the rule knows which kind that argument has.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

_RULES: dict[str, dict[str, Callable[..., Any]]] = {}
_NAMES: dict[type, tuple[str, str]] = {}


def register(kind: str, name: str) -> Callable[[Any], Any]:
    """Class decorator: make a rule known by `name` among the rules of `kind`.

    A factory function may be registered too, as a preset: it is read under its own name, and written as the
    rule that it returns.

    Raises
    ------
    ValueError
        If another rule of this kind has the name already.
    """

    def add(rule: Any) -> Any:
        rules = _RULES.setdefault(kind, {})
        other = rules.get(name)
        if other is not None and other.__qualname__ != rule.__qualname__:
            raise ValueError(f"{kind} {name!r} is already registered as {other.__qualname__}; choose another name")
        rules[name] = rule
        if isinstance(rule, type):
            _NAMES[rule] = (kind, name)
        return rule

    return add


def known(kind: str) -> list[str]:
    """Names of the registered rules of a kind, sorted."""
    return sorted(_RULES.get(kind, {}))


def rule_class(kind: str, name: str) -> Callable[..., Any]:
    """The class or preset registered under `name`."""
    return _lookup(kind, name)


def parse(kind: str, text: str) -> Any:
    """Build the rule of `kind` that `text` names.

    Parameters
    ----------
    kind : str
        Family of rules, e.g. ``"drop"``.
    text : str
        ``"name"`` or ``"name(argument, key=argument)"``; arguments are Python literals or nested rule texts.

    Raises
    ------
    ValueError
        If the text is not of that form, names no known rule, or its arguments do not fit the rule.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(_form(kind, text)) from None
    if isinstance(node, ast.Name):
        return _build(_lookup(kind, node.id), text, [], {})
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise ValueError(_form(kind, text))
    rule = _lookup(kind, node.func.id)
    if any(keyword.arg is None for keyword in node.keywords):
        raise ValueError(_form(kind, text))
    positional = [_argument(arg, kind, text) for arg in node.args]
    named = {str(keyword.arg): _argument(keyword.value, kind, text) for keyword in node.keywords}
    return _build(rule, text, positional, named)


def resolve(kind: str, given: Any) -> Any:
    """Return `given` as a rule of `kind`: text is parsed, an object of a registered or own class passes."""
    if isinstance(given, str):
        return parse(kind, given)
    return given


def to_text(value: Any) -> str:
    """The text that `parse` turns back into `value`; literals are written as Python literals."""
    if isinstance(value, np.generic):  # its repr, np.float64(0.1), is no literal
        value = value.item()
    if type(value) in _NAMES:
        fields = [field for field in dataclasses.fields(value) if field.init]
        arguments = ", ".join(f"{field.name}={to_text(getattr(value, field.name))}" for field in fields)
        name = _NAMES[type(value)][1]
        return f"{name}({arguments})" if arguments else name
    if isinstance(value, (list, tuple)):
        inner = ", ".join(to_text(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    raise TypeError(
        f"{value!r} cannot be written as a rule text; register its class with "
        f"sparserbm.registry.register(kind, name), or use numbers, strings, tuples and registered rules"
    )


def describe(value: Any, strict: bool = True) -> Any:
    """`value` for a config: rules as texts, None and sequences as such.

    Parameters
    ----------
    strict : bool
        A rule without a text is an error (nobody could make it again from the config); otherwise its repr stands.
    """
    if value is None:
        return None
    if isinstance(value, (tuple, list)):
        return [describe(item, strict) for item in value]
    try:
        return value if isinstance(value, str) else to_text(value)
    except TypeError:
        if strict:
            raise
        return repr(value)


def _lookup(kind: str, name: str) -> Callable[..., Any]:
    rules = _RULES.get(kind, {})
    if name not in rules:
        close = difflib.get_close_matches(name, rules, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"unknown {kind} {name!r}{hint}; known: {', '.join(sorted(rules)) or 'none'}")
    return rules[name]


def _argument(node: ast.expr, kind: str, text: str) -> Any:
    if isinstance(node, (ast.Call, ast.Name)):
        return ast.unparse(node)
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_argument(item, kind, text) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(_form(kind, text)) from None


def _build(rule: Callable[..., Any], text: str, positional: list[Any], named: dict[str, Any]) -> Any:
    try:
        return rule(*positional, **named)
    except TypeError as error:
        takes = ", ".join(inspect.signature(rule).parameters)
        known_arguments = f"; it takes: {takes}" if takes else ""
        raise ValueError(f"{text!r} does not fit: {error}{known_arguments}") from None


def _form(kind: str, text: str) -> str:
    return (
        f"cannot read {text!r} as {kind}; write name or name(argument, key=argument) with numbers, strings or "
        f"nested rules; known: {', '.join(known(kind)) or 'none'}"
    )
