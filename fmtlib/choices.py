"""Things chosen by name in a text, with parameters after colons: ``bfp:mantissa_bits=2``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from fmtlib.arguments import did_you_mean

Reader = Callable[[str], Any]

_DEEPEST = 20  # parentheses in others


def near_names(given: str, allowed: Iterable[str]) -> str:
    """The near matches of a wrong name and the names allowed, to end an error message.

    Examples
    --------
    >>> near_names("strips", ["loom", "stripes"])
    "; did you mean 'stripes'? allowed: loom, stripes"
    """
    allowed = list(allowed)
    return f"{did_you_mean(given, allowed) or ';'} allowed: {', '.join(allowed)}"


def named(what: str, name: str, table: Mapping[str, Any], base: type | None = None) -> Any:
    """What a table has under a name or, if the name has dots, a class of one's own.

    Parameters
    ----------
    what : str
        What the table is of, for messages.
    name : str
        One of the table, or where a class is, as ``module.Class``; a module may be in the working
        folder. In place of the class there may be an instance, whose values become the defaults.
    table : dict
    base : type, optional
        What such a class inherits from. Without it there are only the names of the table.

    Raises
    ------
    ValueError
        If there is no such name, module or class.
    TypeError
        If it does not inherit from `base`.

    Examples
    --------
    >>> from numbers import Number
    >>> named("number", "fractions.Fraction", {"int": int}, Number)
    <class 'fractions.Fraction'>
    """
    if name in table:
        return table[name]
    if base is None or "." not in name:
        raise ValueError(f"unknown {what} {name!r}{near_names(name, table)}")
    place, _, own = name.rpartition(".")
    if (here := str(Path.cwd())) not in sys.path:  # a console script does not look there
        sys.path.append(here)
    try:
        module = import_module(place)
    except (ModuleNotFoundError, TypeError, ValueError) as error:  # no name at all, such as ".."
        if isinstance(error, ModuleNotFoundError) and not f"{place}.".startswith(f"{error.name}."):
            raise  # one that the module itself imports
        raise ValueError(f"unknown {what} {name!r}: there is no module {place!r}") from None
    if not hasattr(module, own):
        where = getattr(module, "__file__", None) or place
        raise ValueError(f"unknown {what} {name!r}: there is no {own!r} in {where}")
    found = getattr(module, own)
    if isinstance(found, base):
        values = {key: getattr(found, key) for key in parameters_of(type(found))}
        return partial(type(found), **values)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"{name} is no {what}: it must inherit from {base.__name__}")
    return found


def split_choice(text: str) -> tuple[str, dict[str, str]]:
    """A name and its parameters, as they are written.

    Colons between parentheses do not count; the parentheses around a value are taken off.

    Raises
    ------
    ValueError
        If a parameter has no name or no value, or is there twice; if parentheses do not match, or
        are nested more than 20 deep.

    Examples
    --------
    >>> split_choice("nm:kept=1:recipe=(bfp:mantissa_bits=2)")
    ('nm', {'kept': '1', 'recipe': 'bfp:mantissa_bits=2'})
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if depth > _DEEPEST:
            raise ValueError(f"parentheses are nested more than {_DEEPEST} deep")
        if letter == ":" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise ValueError(f"parentheses do not match in {text!r}")
    name, *settings = (part.strip() for part in parts)
    found: dict[str, str] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        inside = value.startswith("(") and value.endswith(")")
        value = value[1:-1] if inside else value
        if not key or not value:
            raise ValueError(f"{name}: a parameter is NAME=VALUE, got {setting!r}")
        if key in found:
            raise ValueError(f"{name}: {key} is there twice")
        found[key] = value
    return name, found


def parameters_of(
    function: Callable[..., Any], hidden: Collection[str] = ()
) -> dict[str, inspect.Parameter]:
    """What can be set of a function or class by name."""
    parameters = inspect.signature(function).parameters
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_KEYWORD)
    return {
        name: parameter
        for name, parameter in parameters.items()
        if name not in hidden and parameter.kind not in positional
    }


def choose(
    what: str,
    text: str,
    table: Mapping[str, Callable[..., Any]],
    *,
    hidden: Collection[str] = (),
    readers: Mapping[str, Reader] | None = None,
    base: type | None = None,
) -> partial[Any]:
    """The function or class of a table that a text names, with the parameters that it sets.

    A value is read as its parameter's default is: whole numbers, numbers, true or false, words, or
    several of them with commas between.

    Parameters
    ----------
    what : str
        What the table is of, for messages.
    text : str
    table : dict of str to callable
    hidden : collection of str
        Parameters that a text cannot set.
    readers : dict of str to callable, optional
        How values of parameters of some names are read.
    base : type, optional
        What classes of one's own inherit from, see `named`.

    Raises
    ------
    TypeError
        If `text` is no str, or a class of one's own of another kind.
    ValueError
        If the name, a parameter or its value is none, or a parameter is missing.

    Examples
    --------
    >>> from fractions import Fraction
    >>> choose("number", "fraction:numerator=3", {"fraction": Fraction})()
    Fraction(3, 1)
    """
    if not isinstance(text, str):
        raise TypeError(f"a {what} is given by its name, got {text!r}")
    name, settings = split_choice(text)
    function = named(what, name, table, base)
    known = parameters_of(function, hidden)
    values = {}
    for key, value in settings.items():
        if key not in known:
            rest = near_names(key, known) if known else "; it has none"
            raise ValueError(f"{name} has no parameter {key!r}{rest}")
        read = (readers or {}).get(key)
        default = known[key].default
        try:
            values[key] = read(value) if read is not None else _read(value, default)
        except ValueError as error:
            raise ValueError(f"{name}: {key}: {error}") from None
    for key, parameter in known.items():
        if key not in values and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"{name} needs {key}, as in {name}:{key}=...")
    return partial(function, **values)


def _read(text: str, default: Any) -> Any:
    """A value of the type that a default has."""
    if isinstance(default, tuple):
        like = default[0] if default else 0
        return tuple(_read(part.strip(), like) for part in text.split(",") if part.strip())
    if isinstance(default, bool):
        words = {"true": True, "false": False}
        if text.lower() not in words:
            raise ValueError(f"must be true or false, got {text!r}")
        return words[text.lower()]
    if isinstance(default, str):
        return text
    kinds: tuple[type, ...] = (int, float)
    if isinstance(default, (int, float)):
        kinds = (type(default),)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            pass
    if isinstance(default, (int, float)):
        number = "a whole number" if isinstance(default, int) else "a number"
        raise ValueError(f"must be {number}, got {text!r}")
    return text
