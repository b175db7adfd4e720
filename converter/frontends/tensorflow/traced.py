"""A traced graph of TensorFlow 1: the way of SavedModels and frozen graphs to TensorFlow's TFLite converter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgec.converter.errors import ResourceError

# How long a graph with loops may run to be compared with: one without an end must not hold the user up.
RUN_SECONDS = 4
_LOOPS = {"While", "StatelessWhile", "Enter", "PartitionedCall", "StatefulPartitionedCall"}
# Operators on lists of tensors, and which input is the shape of an element.
_LISTS = {
    "TensorListReserve": 0, "EmptyTensorList": 0, "TensorListFromTensor": 1, "TensorListStack": 1, "TensorListGetItem": 2,
}  # fmt: skip


def _give_lists_a_batch(graph: Any, batch: int) -> None:
    """Loops over steps keep lists of [batch, ...], whose open batch was written into the graph when it was exported."""
    import tensorflow as tf

    for nodes in (graph.node, *(f.node_def for f in graph.library.function)):
        by_name = {n.name: n for n in nodes}
        for node in nodes:
            if node.op not in _LISTS:
                continue
            shape = by_name.get(node.input[_LISTS[node.op]].split(":")[0])
            if shape is None or shape.op != "Const":
                continue
            dims = tf.make_ndarray(shape.attr["value"].tensor)
            if dims.ndim == 1 and dims.size and dims[0] == -1 and (dims[1:] > 0).all():
                dims = np.concatenate([np.array([batch], dims.dtype), dims[1:]])
                shape.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(dims))


class TracedGraph:
    """A graph of TensorFlow 1 with its inputs and outputs."""

    def __init__(self, graph: Any, arguments: list[Any], results: list[Any]) -> None:
        self.definition = graph.as_graph_def()
        self._graph, self._arguments, self._results = graph, arguments, results

    def converter(self) -> Any:
        import tensorflow as tf

        used = tf.compat.v1.graph_util.extract_sub_graph(self.definition, [r.op.name for r in self._results])
        if used.library.function:
            used = self._without_functions(used)
        return tf.compat.v1.lite.TFLiteConverter(used, self._arguments, self._results)

    def _without_functions(self, definition: Any) -> Any:
        """Bodies in place of calls: only so do the sizes of this trace reach what is inside."""
        import tensorflow as tf
        from tensorflow.python.grappler import tf_optimizer

        meta = tf.compat.v1.train.export_meta_graph(graph_def=definition, graph=self._graph)
        kept = [t.op.name for t in (*self._arguments, *self._results)]
        meta.collection_def["train_op"].node_list.value.extend(kept)
        config = tf.compat.v1.ConfigProto()
        options = config.graph_options.rewrite_options
        options.min_graph_nodes = -1
        options.function_optimization = options.AGGRESSIVE
        options.optimizers.append("function")  # folding constants would fold simulated quantization of weights away
        optimised = tf_optimizer.OptimizeGraph(config, meta)
        batches = {t.shape[0] for t in self._arguments if t.shape.rank}
        if len(batches) == 1 and (batch := batches.pop()) is not None:
            _give_lists_a_batch(optimised, int(batch))
        return optimised

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        import tensorflow as tf

        seconds = 0.0 if _LOOPS & {n.op for n in self.definition.node} else None
        with tf.compat.v1.Session(graph=self._graph) as session:
            while True:
                seconds = seconds if seconds is None else 2 * seconds + RUN_SECONDS
                options = tf.compat.v1.RunOptions(timeout_in_ms=0 if seconds is None else int(1000 * seconds))
                begin = time.process_time()
                try:
                    results = session.run(self._results, dict(zip(self._arguments, arrays)), options=options)
                    break
                except tf.errors.DeadlineExceededError:
                    if time.process_time() - begin < RUN_SECONDS / 2:  # a busy machine: the run hardly got anywhere
                        continue
                    raise ResourceError(
                        f"TensorFlow itself does not finish one run of the model in {seconds:.0f} s",
                        hint="a loop without an end? --no-check converts it without running it",
                    ) from None
        return [np.asarray(r) for r in results]
