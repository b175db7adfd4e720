"""TorchScript modules with state in their attributes: state from outside, call after call like the module itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgec  # noqa: E402
from edgec.errors import InvalidArgumentError, ShapeError, UnsupportedError  # noqa: E402

CALLS = 6


class Accumulator(torch.nn.Module):
    """The output is the state."""

    def __init__(self, first: float = 0.0) -> None:
        super().__init__()
        self.total = torch.full((1, 4), first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total = self.total * 0.5 + x
        return self.total


class CausalConvolution(torch.nn.Module):
    """State of a sub-module, empty before the first call, and a flag that comes to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(2, 3, 4)
        self.past = torch.zeros(0)
        self.started = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.started:
            self.past = torch.zeros([x.shape[0], 2, 3])
            self.started = True
        y = torch.cat([self.past, x], 2)
        self.past = y[:, :, -3:]
        return self.convolution(y)


class Recogniser(torch.nn.Module):
    """A stateful part inside, a number as an argument, an LSTM whose state is a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.part = CausalConvolution()
        self.cell = torch.nn.LSTMCell(3, 5)
        self.h = torch.zeros(1, 5)
        self.c = torch.zeros(1, 5)

    def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
        if rate not in (8000, 16000):
            raise ValueError("rate")
        y = self.part(x)[:, :, 0]
        self.h, self.c = self.cell(y if rate == 16000 else -y, (self.h, self.c))
        return self.h.sum(1)


def _compare(module: Any, path: Path, shape: tuple[int, ...], states: set[str], **options: Any) -> None:
    torch.manual_seed(0)
    torch.jit.script(module).save(str(path))
    fresh = torch.jit.load(str(path))
    model = edgec.convert(path, shapes=[shape], **options)
    stream = edgec.Session(model).stream()
    assert set(stream.states) == states
    inputs = torch.randn(CALLS, *shape)
    for _ in range(2):
        for x in inputs:
            with torch.no_grad():
                expected = fresh(x, *options.get("fixed", {}).values())
            np.testing.assert_allclose(stream(x.numpy()), expected.numpy(), rtol=1e-5, atol=1e-6)
        stream.reset()
        fresh = torch.jit.load(str(path))


def test_output_is_the_state(tmp_path: Path) -> None:
    _compare(Accumulator(), tmp_path / "m.pt", (1, 4), {"total"})


def test_state_that_does_not_begin_with_zeros(tmp_path: Path) -> None:
    _compare(Accumulator(3.0), tmp_path / "m.pt", (1, 4), {"total"})


def test_state_that_is_made_in_the_first_call(tmp_path: Path) -> None:
    _compare(CausalConvolution(), tmp_path / "m.pt", (1, 2, 5), {"past"})


@pytest.mark.parametrize("rate", [8000, 16000])
def test_state_of_a_part_and_a_number(rate: int, tmp_path: Path) -> None:
    _compare(Recogniser(), tmp_path / "m.pt", (1, 2, 1), {"part_past", "h", "c"}, fixed={"rate": rate})


def test_a_module_in_memory_keeps_its_state() -> None:
    module = torch.jit.script(Accumulator())
    module(torch.ones(1, 4))
    edgec.convert(module, torch.ones(1, 4))
    assert float(module.total.sum()) == 4.0


def test_a_number_without_a_value_says_how_to_give_it(tmp_path: Path) -> None:
    torch.jit.script(Recogniser()).save(str(tmp_path / "m.pt"))
    with pytest.raises(InvalidArgumentError, match="'rate'.*a number") as raised:
        edgec.convert(tmp_path / "m.pt", shapes="1x2x1")
    assert "--fix rate=" in raised.value.hint


def test_what_cannot_be_lifted_is_refused() -> None:
    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x * self.calls

    class Grows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.past = torch.zeros(1, 0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.past = torch.cat([self.past, x], 1)
            return self.past.sum(1)

    with pytest.raises(UnsupportedError, match="'calls'.*changes from call to call"):
        edgec.convert(torch.jit.script(Counts()), torch.ones(1, 4))
    with pytest.raises(UnsupportedError, match="'past'.*changes its shape"):
        edgec.convert(torch.jit.script(Grows()), torch.ones(1, 4))
    with pytest.raises(ShapeError, match="for one shape"):
        edgec.convert(torch.jit.script(Accumulator()), shapes=[(1, "n")])


def test_numbers_of_a_module_without_state(tmp_path: Path) -> None:
    class Scaled(torch.nn.Module):
        def forward(self, x: torch.Tensor, factor: float, times: int = 2) -> torch.Tensor:
            for _ in range(times):
                x = x * factor
            return x

    torch.jit.script(Scaled()).save(str(tmp_path / "m.pt"))
    model = edgec.convert(tmp_path / "m.pt", shapes="3", fixed={"factor": 0.5})
    np.testing.assert_array_equal(edgec.Session(model).run(None, {"x": np.ones(3, np.float32)})[0], np.full(3, 0.25))
    model = edgec.convert(tmp_path / "m.pt", (np.ones(3, np.float32), 0.5, 3))
    np.testing.assert_array_equal(edgec.Session(model).run(None, {"x": np.ones(3, np.float32)})[0], np.full(3, 0.125))
