"""Models with memory: recurrent networks, key-value caches, streaming speech."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.errors import InvalidArgumentError

if TYPE_CHECKING:
    from edgec.session import Session

Array = np.ndarray[Any, Any]

# Parts of a name that only say on which side of the model a state stands: h0/hn, state/stateN, past/present,
# cache_in/cache_out, prev_h/next_h.
_ONE_SIDED = {"in", "out", "input", "output", "new", "next", "prev", "previous", "past", "present"}


def _base(name: str) -> str:
    """What is left of a name without its side: "stateN" and "state" are both "state"."""
    text = name.lower().replace("past_key_values", "present")
    parts = [p for p in re.split(r"[^a-z0-9]+", text) if p and p not in _ONE_SIDED]
    joined = ".".join(parts)
    return re.sub(r"(?<=[a-z])(0|n|_n|_0)$", "", joined)


def state_pairs(session: Session) -> dict[str, str]:
    """State inputs with the outputs that give their next value, found by name and type.

    An input and an output belong together when they have the same data type and shape and their names differ only in
    their side (state/stateN, h0/hn, past.../present...).
    """
    outputs = {s.name: s for s in session.outputs}
    pairs: dict[str, str] = {}
    for spec in session.prepared_inputs:
        for name, candidate in outputs.items():
            same = candidate.dtype == spec.dtype and candidate.shape == spec.shape
            if same and name not in pairs.values() and _base(name) == _base(spec.name):
                pairs[spec.name] = name
                break
    return pairs


class Stream:
    """One stream through a model with memory: the state stays inside.

    Made by `Session.stream()`. Several streams of one session keep separate states; they may be called in any order.

    >>> stream = session.stream()
    >>> for chunk in microphone:
    ...     speech = stream(chunk)
    >>> stream.reset()
    """

    def __init__(self, session: Session, states: Mapping[str, str] | None = None, **fixed: Any) -> None:
        self._session = session
        self.states = dict(states) if states is not None else state_pairs(session)
        specs = {s.name: s for s in session.prepared_inputs}
        outputs = [s.name for s in session.outputs]
        for source, target in self.states.items():
            if source not in specs or target not in outputs:
                raise InvalidArgumentError(
                    f"states: no input '{source}' or no output '{target}'; "
                    f"inputs: {', '.join(specs)}; outputs: {', '.join(outputs)}"
                )
        if not self.states:
            raise InvalidArgumentError(
                "no input of the model continues one of its outputs by name and type; "
                f"inputs: {', '.join(specs)}; outputs: {', '.join(outputs)}. "
                'What to do: name the pairs, session.stream(states={"state": "new_state"})'
            )
        unknown = set(fixed) - set(specs)
        if unknown:
            raise InvalidArgumentError(f"no input '{unknown.pop()}'; the inputs are {', '.join(specs)}")
        self._fixed = dict(fixed)
        self._specs = {name: specs[name] for name in self.states}
        self._free = [n for n in specs if n not in self.states and n not in fixed]
        self._visible = [n for n in outputs if n not in self.states.values()]
        self._values: dict[str, Array] = {}
        self.reset()

    def reset(self, **initial: Any) -> None:
        """Back to the beginning: states are zero, or what is given by the name of the state's input."""
        unknown = set(initial) - set(self.states)
        if unknown:
            raise InvalidArgumentError(f"no state '{unknown.pop()}'; the states are {', '.join(self.states)}")
        self._values = {
            name: np.asarray(initial[name]) if name in initial else np.zeros([int(d) for d in spec.shape], spec.dtype)
            for name, spec in self._specs.items()
        }

    @property
    def state(self) -> dict[str, Array]:
        """The current value of every state, by the name of its input."""
        return dict(self._values)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """One step. Takes the inputs that are neither states nor fixed; returns the outputs that are no states.

        Returns the array when one output is left, else a dict by name. A step that fails leaves the state as it was.
        """
        if len(inputs) > len(self._free):
            raise InvalidArgumentError(
                f"got {len(inputs)} inputs, a step takes {len(self._free)}: {', '.join(self._free)}"
            )
        feeds = {**self._fixed, **self._values, **dict(zip(self._free, inputs)), **named}
        names = [*self._visible, *self.states.values()]
        results = dict(zip(names, self._session.run(names, feeds)))
        self._values = {source: results[target] for source, target in self.states.items()}
        if len(self._visible) == 1:
            return results[self._visible[0]]
        return {name: results[name] for name in self._visible}
