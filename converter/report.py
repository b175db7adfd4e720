"""What the passes did to a graph: counts by label, names of the nodes, what was switched off."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Applied:
    """One patch: which rewrite, what it says it did, and the nodes that it consumed."""

    index: int
    rewrite: str
    label: str
    nodes: tuple[str, ...]


@dataclass
class Report:
    """Result of `optimize`. `patches` is in order of application; its length is what `stop_after` counts."""

    patches: list[Applied] = field(default_factory=list)
    disabled: tuple[str, ...] = ()
    stopped_after: int | None = None
    # Rewrites that were stopped because they undid each other's work; a defect worth reporting, not an error.
    repeating: list[str] = field(default_factory=list)
    # Patches that the registry or the type check refused; the graph was left as it was.
    refused: list[str] = field(default_factory=list)
    # Quantized models: operators that compute in floats all the same; see passes/fold_quantized_report.py.
    float_fallbacks: list[dict[str, str]] = field(default_factory=list)
    nodes_before: int = 0
    nodes_after: int = 0
    operators_before: dict[str, int] = field(default_factory=dict)
    operators_after: dict[str, int] = field(default_factory=dict)
    transposes_before: int = 0
    transposes_after: int = 0
    seconds: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Label -> how often, most frequent first."""
        return dict(Counter(p.label for p in self.patches).most_common())

    def by_rewrite(self) -> dict[str, int]:
        """Name of the rewrite -> how often it fired."""
        return dict(Counter(p.rewrite for p in self.patches).most_common())

    def nodes_of(self, label: str) -> list[tuple[str, ...]]:
        """The source nodes of every patch with this label."""
        return [p.nodes for p in self.patches if p.label == label]

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for `--json` and for the file's metadata."""
        return {
            "patches": len(self.patches),
            "fused": self.counts,
            "rewrites": self.by_rewrite(),
            "nodes": {"before": self.nodes_before, "after": self.nodes_after},
            "operators": {"before": self.operators_before, "after": self.operators_after},
            "transposes": {"before": self.transposes_before, "after": self.transposes_after},
            "disabled": list(self.disabled),
            "stopped_after": self.stopped_after,
            "repeating": self.repeating,
            "refused": self.refused,
            "float_fallbacks": self.float_fallbacks,
            "seconds": round(self.seconds, 3),
        }
