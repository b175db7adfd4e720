"""Minimum cut by Dinic's algorithm: the exact answer to "who gets label A, who gets label B, at least cost"."""

from __future__ import annotations

from collections import deque


class MinCut:
    """Costs between two-valued variables (A = False, B = True). Integers, so that the answer is deterministic.

    >>> cut = MinCut()
    >>> i, j = cut.variable(), cut.variable()
    >>> cut.fix(i, False); cut.cost_b(j, 1); cut.edge(i, j, 5)
    >>> cut.solve()[j]
    False
    """

    SOURCE, SINK = 0, 1
    INFINITE = 1 << 60

    def __init__(self) -> None:
        self._edges: list[list[int]] = [[], []]  # node -> indices into the arrays below
        self._to: list[int] = []
        self._capacity: list[int] = []

    def variable(self) -> int:
        """A new variable."""
        self._edges.append([])
        return len(self._edges) - 1

    def edge(self, i: int, j: int, cost: int) -> None:
        """`cost` is paid when i is A and j is B."""
        if cost <= 0 or i == j:
            return
        self._edges[i].append(len(self._to))
        self._to.append(j)
        self._capacity.append(cost)
        self._edges[j].append(len(self._to))
        self._to.append(i)
        self._capacity.append(0)

    def cost_b(self, i: int, cost: int) -> None:
        """`cost` is paid when i is B."""
        self.edge(self.SOURCE, i, cost)

    def cost_a(self, i: int, cost: int) -> None:
        """`cost` is paid when i is A."""
        self.edge(i, self.SINK, cost)

    def fix(self, i: int, b: bool) -> None:
        """i is B when `b`, else A."""
        (self.cost_a if b else self.cost_b)(i, self.INFINITE)

    def pair(self, i: int, j: int, aa: int, ab: int, ba: int, bb: int) -> None:
        """Costs of the four combinations; needs aa + bb <= ab + ba."""
        for variable, cost in ((i, ba - aa), (j, bb - ba)):
            self.cost_b(variable, cost)
            self.cost_a(variable, -cost)
        self.edge(i, j, ab + ba - aa - bb)

    def solve(self) -> list[bool]:
        """True for B, by variable. Of several best answers the one with the fewest A."""
        while (level := self._levels()) is not None:
            self._block(level)
        reached = self._reached()
        return [not r for r in reached]

    def _levels(self) -> list[int] | None:
        level = [-1] * len(self._edges)
        level[self.SOURCE] = 0
        queue = deque([self.SOURCE])
        while queue:
            i = queue.popleft()
            for e in self._edges[i]:
                j = self._to[e]
                if self._capacity[e] and level[j] < 0:
                    level[j] = level[i] + 1
                    queue.append(j)
        return level if level[self.SINK] >= 0 else None

    def _block(self, level: list[int]) -> None:
        """A blocking flow of the level graph, with an explicit stack (networks are deep)."""
        position = [0] * len(self._edges)
        path: list[int] = []
        i = self.SOURCE
        while True:
            if i == self.SINK:
                amount = min(self._capacity[e] for e in path)
                for e in path:
                    self._capacity[e] -= amount
                    self._capacity[e ^ 1] += amount
                cut = next(k for k, e in enumerate(path) if not self._capacity[e])
                i = self._to[path[cut] ^ 1]
                del path[cut:]
                continue
            edges = self._edges[i]
            while position[i] < len(edges):
                e = edges[position[i]]
                if self._capacity[e] and level[self._to[e]] == level[i] + 1:
                    break
                position[i] += 1
            if position[i] < len(edges):
                path.append(edges[position[i]])
                i = self._to[path[-1]]
            elif path:
                e = path.pop()
                i = self._to[e ^ 1]
                position[i] += 1
            else:
                return

    def _reached(self) -> list[bool]:
        reached = [False] * len(self._edges)
        reached[self.SOURCE] = True
        stack = [self.SOURCE]
        while stack:
            for e in self._edges[stack.pop()]:
                j = self._to[e]
                if self._capacity[e] and not reached[j]:
                    reached[j] = True
                    stack.append(j)
        return reached
