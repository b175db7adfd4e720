"""Runs the converted model beside its source and compares the outputs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.errors import CancelledError, CheckError, Error, InvalidArgumentError

if TYPE_CHECKING:
    from edgec.converter.check import OutputCheck
    from edgec.converter.sources import Imported
    from edgec.model import Model
    from edgec.session import Session

# A model with a loop is compared only if a first run ends within this time.
LOOP_SECONDS = 3


def compare_with_source(
    result: Model, imported: Imported, data: Any, seed: int, warnings: list[str]
) -> list[OutputCheck]:
    from edgec.converter import check
    from edgec.session import Session

    # A reference may know better which inputs a model takes, and how equal its results can be.
    random_inputs = getattr(imported.reference, "random_inputs", check.random_inputs)
    compare_outputs = getattr(imported.reference, "compare_outputs", check.compare_outputs)
    session = Session(result)
    sizes = dict(imported.graph.probes[0])
    if imported.expected is not None and imported.feeds is not None:
        first = imported.feeds
    else:
        first = _given(data, result) if data is not None else random_inputs(result.inputs, sizes, seed)
    if any(n.op == "Loop" for n in imported.graph.nodes) and not _ends(session, first):
        warnings.append(f"not compared: with these inputs a loop does not end within {LOOP_SECONDS} s")
        return []
    names = list(result.native.output_names)
    cases: list[tuple[dict[str, np.ndarray], list[np.ndarray], str]] = []
    if imported.expected is not None and imported.feeds is not None:
        cases.append((imported.feeds, imported.expected, imported.against))
    elif imported.reference is not None:
        trials = [first]
        if data is None and imported.graph.symbols:  # sizes that the import did not probe, where the range allows them
            other = {n: s + max(s // 2, 1) for n, s in sizes.items()}
            limits = imported.graph.symbols
            other = {n: min(max(s, limits[n][0]), limits[n][1] or s) for n, s in other.items()}
            trials.append(random_inputs(result.inputs, other, seed))
        for index, feeds in enumerate(trials):
            try:
                cases.append((feeds, imported.reference.run(feeds), imported.reference.name))
            except Exception as e:  # whatever the other framework raises
                if index == 0:
                    text = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
                    warnings.append(f"not compared: {imported.reference.name} does not run the source model ({text})")
    if not cases:
        try:
            session.run(None, first)
        except Error as e:
            if imported.reference is None:
                raise
            warnings.append(f"not run: random inputs do not fit the network ({e.message})")
        return []
    checks: list[OutputCheck] = []
    for index, (feeds, expected, against) in enumerate(cases):
        try:
            got = session.run(None, feeds)
        except Error as e:
            if index == 0:
                raise
            shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in feeds.items())
            warnings.append(f"does not run with {shapes}, which {against} accepts: {e.message}")
            continue
        case = compare_outputs(names, got, expected, against)
        if index == 0 or any(not c.ok for c in case):
            checks += case
    return checks


def _given(data: Any, model: Model) -> dict[str, np.ndarray]:
    """example_inputs or check_data as a feed."""

    def array(value: Any) -> np.ndarray:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)

    if isinstance(data, Mapping):
        return {str(k): array(v) for k, v in data.items()}
    values = list(data) if isinstance(data, (list, tuple)) else [data]
    if len(values) != len(model.inputs):
        names = ", ".join(s.name for s in model.inputs)
        raise InvalidArgumentError(f"{len(values)} example inputs given, the model has {len(model.inputs)}: {names}")
    return {s.name: array(v) for s, v in zip(model.inputs, values)}


def raise_difference(checks: Sequence[OutputCheck]) -> None:
    wrong = [c for c in checks if not c.ok]
    if not wrong:
        return
    rows = "".join(
        f"\n  {c.output}: relative L2 {c.relative_l2:.2e}, max abs {c.max_abs:.2e}{' (' + c.note + ')' if c.note else ''}"
        for c in wrong
    )
    raise CheckError(
        f"the converted model does not compute what {wrong[0].against} computes:{rows}",
        [c.to_dict() for c in checks],
        hint="this is a defect of edgec: please report it; check=False (--no-check) converts anyway. "
        "edgec compare --mark all names the first tensor that differs",
    )


def _ends(session: Session, feeds: dict[str, np.ndarray]) -> bool:
    """Whether a run comes to its end, be it an error: a loop may depend on data that random inputs are not."""
    timer = threading.Timer(LOOP_SECONDS, session.cancel)
    timer.start()
    try:
        session.run(None, feeds)
    except CancelledError:
        return False
    except Error:
        return True
    finally:
        timer.cancel()
    return True
