"""Puts other function bodies into modules that are loaded already. A process forked from one that has loaded
everything gets its mutant that way: to load everything anew takes longer than most stories.

Only what a function says in its body can be replaced so. What is executed when the module is loaded (a class's fields,
a default, a decorator, a constant) must be the same; otherwise the module has to be loaded from its new source.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import TypeAlias

Place: TypeAlias = tuple[str, str, int]
"""The file of a function, its qualified name, and its first line."""


def replaceable(old: str, new: str) -> bool:
    """True if these two sources of a module differ in functions' bodies only."""
    return _changed(compile(old, "old", "exec"), compile(new, "old", "exec")) is not None


def replace(sources: Mapping[str, tuple[str, str]]) -> bool:
    """Makes of each module, given by name with its old and new source, what the new source says. False, and nothing is
    changed, if that cannot be done."""
    bodies: dict[Place, CodeType] = {}
    for name, (old, new) in sources.items():
        file = sys.modules[name].__file__
        assert file is not None
        changed = _changed(compile(old, file, "exec"), compile(new, file, "exec"))
        if changed is None:
            return False
        bodies.update((_place(one), other) for one, other in changed)
    functions = [each for each in gc.get_objects() if type(each) is FunctionType and _place(each.__code__) in bodies]
    if {_place(each.__code__) for each in functions} != bodies.keys():
        return False
    for each in functions:
        each.__code__ = bodies[_place(each.__code__)]
    return True


def _place(code: CodeType) -> Place:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _changed(old: CodeType, new: CodeType) -> list[tuple[CodeType, CodeType]] | None:
    """The functions whose bodies differ; None if there is any other difference."""
    before, after = list(_executed(old)), list(_executed(new))
    if [_loading(code) for code in before] != [_loading(code) for code in after]:
        return None
    pairs = list(zip(_functions(before), _functions(after), strict=True))
    changed = [(one, other) for one, other in pairs if _form(one) != _form(other)]
    for one, other in changed:
        # A lambda or comprehension may be executed when the module is loaded, and so may what a decorator holds.
        if one.co_name.startswith("<") or one.co_freevars != other.co_freevars or _inner(one) != _inner(other):
            return None
    return changed


def _executed(code: CodeType) -> Iterator[CodeType]:
    """The module's own code, and its classes': what is executed when it is loaded."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_flags & inspect.CO_OPTIMIZED:
            yield from _executed(constant)


def _loading(code: CodeType) -> tuple[object, ...]:
    constants = ["code" if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    functions = [each.co_qualname for each in code.co_consts if isinstance(each, CodeType)]
    return code.co_qualname, code.co_code, code.co_names, constants, functions


def _form(code: CodeType) -> tuple[object, ...]:
    """All but where its lines are."""
    constants = tuple(_form(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_qualname, code.co_code, code.co_exceptiontable, code.co_flags, code.co_argcount, names, constants


def _inner(code: CodeType) -> list[tuple[object, ...]]:
    """The functions in it that may outlive a call."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return [_form(each) for each in inner if each.co_name == "<lambda>" or not each.co_name.startswith("<")]


def _functions(executed: list[CodeType]) -> list[CodeType]:
    return [
        each for code in executed for each in code.co_consts
        if isinstance(each, CodeType) and each.co_flags & inspect.CO_OPTIMIZED
    ]
