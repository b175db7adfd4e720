"""The order of the passes: simplify, recognise, move layouts, fuse, tidy up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection

from edgec.converter.ir.graph import Graph
from edgec.converter.passes import (  # noqa: F401  importing a module registers its rewrites
    affine_to_depthwise,
    common_subexpressions,
    dead_code,
    drop_expands,
    fold_constants,
    fold_quantized_chains,
    fold_quantized_convolution,
    fold_quantized_elementwise,
    fold_quantized_matmul,
    fold_quantized_moves,
    fold_quantized_pools,
    fold_quantized_types,
    fuse_activation,
    fuse_affine,
    fuse_matmul,
    fuse_pad,
    fuse_residual,
    global_pool,
    hoist_selects,
    layout,
    merge_clips,
    merge_slices,
    merge_transposes,
    merge_views,
    normalize_arithmetic,
    recognize_attention,
    recognize_functions,
    recognize_norms,
    remove_identities,
    sink_views,
)
from edgec.converter.passes.engine import REWRITES, Engine, Rewrite
from edgec.converter.passes.fold_quantized_report import float_fallbacks
from edgec.converter.report import Report

# Stage names; a rewrite runs in every stage it names. Each stage runs to its own fixpoint.
STAGES = (
    ("simplify",),
    ("simplify", "recognise"),
    ("layout",),
    ("simplify", "recognise", "fuse"),
    ("simplify", "integers"),
    ("integers-to-f32",),
    ("simplify", "finish"),
)

Progress = Callable[[str, float], None]


def rewrites_of(stages: Collection[str]) -> list[Rewrite]:
    """The rewrites that belong to any of the stages, in the order in which their modules were imported."""
    return [r for r in REWRITES.values() if any(s in stages for s in r.stages)]


def optimize(
    graph: Graph,
    disable: Collection[str] = (),
    stop_after: int | None = None,
    progress: Progress | None = None,
    *,
    check_all: bool = False,
    strict: bool = False,
) -> Report:
    """Rewrites the graph in place and says what it did.

    disable: names of rewrites (the keys of `REWRITES`) to leave out. stop_after: apply at most this many patches;
    the graph runs after each, so that halving the number finds the one that breaks a result. progress: called with
    (label, fraction). Names, order, types and layouts of inputs and outputs stay what they were.
    """
    begin = time.perf_counter()
    report = Report(stopped_after=stop_after)
    report.nodes_before, report.operators_before = len(graph), operators(graph)
    report.transposes_before = report.operators_before.get("Transpose", 0)
    stage = 0

    def tell(label: str) -> None:
        if progress is not None:
            progress(label, stage / len(STAGES))

    for part in [graph, *subgraphs(graph)]:
        engine = Engine(
            part,
            disable=disable,
            stop_after=stop_after,
            check_all=check_all,
            strict=strict,
            report=report,
            progress=tell,
        )
        for names in STAGES:
            engine.run(rewrites_of(names))
            stage = min(stage + 1, len(STAGES) - 1)
    report.float_fallbacks = [f for part in [graph, *subgraphs(graph)] for f in float_fallbacks(part)]
    report.nodes_after, report.operators_after = len(graph), operators(graph)
    report.transposes_after = report.operators_after.get("Transpose", 0)
    report.seconds = time.perf_counter() - begin
    if progress is not None:
        progress("done", 1.0)
    return report


def subgraphs(graph: Graph) -> list[Graph]:
    """The bodies of If, Loop and Scan, outer ones first."""
    found: list[Graph] = []
    for node in graph.nodes:
        for value in node.attrs.values():
            if isinstance(value, Graph):
                found += [value, *subgraphs(value)]
    return found


def operators(graph: Graph) -> dict[str, int]:
    """Operator -> number of nodes, most frequent first."""
    return dict(Counter(n.op for n in graph.nodes).most_common())
