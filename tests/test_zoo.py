"""Every architecture of the zoo converts from its nn.Module and computes what torch computes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgec  # noqa: E402
from tests.conftest import relative_l2  # noqa: E402
from tests.zoo import ZOO, build  # noqa: E402

LIMIT = 1e-5  # relative L2 of f32 results against torch, the project's promise


@pytest.mark.parametrize("name", ZOO)
def test_zoo_matches_torch(name: str) -> None:
    module, example = build(name)
    with torch.no_grad():
        expected = module(*example)
    if not isinstance(expected, tuple):
        expected = (expected,)
    model = edgec.convert(module, example)
    feeds = [x.numpy() for x in example]
    one = edgec.Session(model, threads=1)
    got = one.run(None, dict(zip([i.name for i in one.inputs], feeds, strict=True)))
    assert len(got) == len(expected)
    for index, (g, e) in enumerate(zip(got, expected, strict=True)):
        error = relative_l2(g, e.numpy())
        print(f"{name} output {index}: relative L2 {error:.2e}")
        assert error <= LIMIT, f"{name}: output {index} differs from torch"

    two = edgec.Session(model, threads=2)
    again = two.run(None, dict(zip([i.name for i in two.inputs], feeds, strict=True)))
    for g, a in zip(got, again, strict=True):
        np.testing.assert_array_equal(g, a, err_msg="two threads give other bits than one")
