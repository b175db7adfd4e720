"""Shape texts: every spelling that users of other tools know."""

from __future__ import annotations

import pytest

from edgec.converter.frontends.shapes import InputShape, Symbol, bind_shapes, parse_shape, parse_shapes
from edgec.errors import ShapeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1x3x224x224", InputShape(None, (1, 3, 224, 224))),
        ("[1,3,224,224]", InputShape(None, (1, 3, 224, 224))),
        ("1,3,224,224", InputShape(None, (1, 3, 224, 224))),
        ("x:1x64", InputShape("x", (1, 64))),
        ("input:0:[1, 64]", InputShape("input:0", (1, 64))),
        ("x:[]", InputShape("x", ())),
        ("batchx3x8x8", InputShape(None, (Symbol("batch"), 3, 8, 8))),
        ("x:1x(2..8)", InputShape("x", (1, Symbol("x_dim1", 2, 8)))),
        ("x:[n(1..8),(2..)]", InputShape("x", (Symbol("n", 1, 8), Symbol("x_dim1", 2, 0)))),
        ("x:[-1,?,4]", InputShape("x", (Symbol("x_dim0"), Symbol("x_dim1"), 4))),
        ("tokens:1x64:int64", InputShape("tokens", (1, 64), "int64")),
    ],
)
def test_parse(text: str, expected: InputShape) -> None:
    assert parse_shape(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1xx3", "x:1x3x", "1x-3", "x:[1,3", "(8..2)", "1x99999999999", "1x1x1x1x1x1x1x1x1", "a b"]
)
def test_refused_with_the_forms_shown(text: str) -> None:
    if text == "":
        assert parse_shape(text).dims == ()
        return
    with pytest.raises(ShapeError):
        parse_shape(text)


def test_python_forms() -> None:
    four = (1, 3, 8, 8)
    assert parse_shapes(four) == [InputShape(None, four)]
    assert parse_shapes([four, (2,)]) == [InputShape(None, four), InputShape(None, (2,))]
    assert parse_shapes({"x": ("n", 4)}) == [InputShape("x", (Symbol("n"), 4))]
    assert parse_shapes({"x": "1x4"}) == [InputShape("x", (1, 4))]
    assert parse_shapes("a:1x4") == [InputShape("a", (1, 4))]


def test_binding_by_name_and_position() -> None:
    bound = bind_shapes(parse_shapes(["b:2x2", "1x4"]), ["a", "b"])
    assert bound["a"].dims == (1, 4)
    assert bound["b"].dims == (2, 2)
    with pytest.raises(ShapeError, match="no input 'c'; its inputs are: a, b"):
        bind_shapes(parse_shapes(["c:1"]), ["a", "b"])
    with pytest.raises(ShapeError, match="did you mean 'image'"):
        bind_shapes(parse_shapes(["imag:1"]), ["image"])
    with pytest.raises(ShapeError, match="2 shapes given"):
        bind_shapes(parse_shapes(["1", "2"]), ["a"])
