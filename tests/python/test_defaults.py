"""An option has one name and one default: in the operator's schema, in Python and in C++."""

import inspect
import math
import re
from pathlib import Path

import pytest
import torch

import torch_ebm

INCLUDE = Path(torch_ebm.__file__).parent / "include" / "torch_ebm"
FUNCTIONS = {
    name: value
    for name, value in {**vars(torch_ebm), **vars(torch_ebm.testing)}.items()
    if inspect.isfunction(value) and not name.startswith("_")
}
_STRUCT = re.compile(r"struct TORCH_EBM_API (\w+)Options[^{;]*\{(.*?)\n\};", re.DOTALL)
_FIELD = re.compile(r"^  (?!//)[\w:<>, ]+? (\w+) = ([^;]+);", re.MULTILINE)


#: Defaults that are written in another way.
SAID_OTHERWISE = {
    "betas": "absent in C++ are the 1000 steps of Python",
    "n_projections": "None in Python is 1, unless projections are given",
}


def cpp_options():
    """The fields of every struct of options, with their defaults, by the function's name."""
    options = {}
    for header in sorted(INCLUDE.rglob("*.h")):
        for struct, body in _STRUCT.findall(header.read_text()):
            options[struct.lower()] = dict(_FIELD.findall(body))
    return options


def value_of(text):
    """A default written in C++, as Python writes it."""
    text = text.strip()
    if text in ("std::nullopt", "{}") or "infinity()" in text:
        return None
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        return text.strip('"')
    return float(text)


def python_defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def same(one, other):
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other)
    return one == other


OPERATORS = [name for name in FUNCTIONS if hasattr(torch.ops.torch_ebm, name)]
STRUCTS = {
    name: fields
    for name in FUNCTIONS
    if (fields := cpp_options().get(name.replace("_", ""))) is not None
}


def test_there_is_something_to_compare():
    assert len(OPERATORS) > 40 and len(STRUCTS) > 15


@pytest.mark.parametrize("name", OPERATORS)
def test_the_operators_options_are_those_of_the_function(name):
    python = python_defaults(FUNCTIONS[name])
    schema = getattr(torch.ops.torch_ebm, name).default._schema
    for argument in schema.arguments:
        said = argument.name in python and argument.name not in SAID_OTHERWISE
        if argument.has_default_value() and said:
            ours = argument.default_value
            assert same(ours, python[argument.name]), (argument.name, ours, python[argument.name])


@pytest.mark.parametrize("name", STRUCTS)
def test_the_cpp_options_are_those_of_the_function(name):
    python = python_defaults(FUNCTIONS[name])
    for field, text in STRUCTS[name].items():
        if field in python and field not in SAID_OTHERWISE:
            assert same(value_of(text), python[field]), (field, text, python[field])
