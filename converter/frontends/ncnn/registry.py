"""The table `ncnn layer -> IR`. The ncnn_ops_*.py files fill it when they are imported."""

from __future__ import annotations

from edgec.converter.frontends.layers.importer import LayerTable

NCNN = LayerTable()


def load_all() -> LayerTable:
    """Imports the files that fill the table."""
    from edgec.converter.frontends.ncnn import (  # noqa: F401
        ops_attention,
        ops_conv,
        ops_detection,
        ops_elementwise,
        ops_layout,
        ops_norm,
        ops_pool,
        ops_quant,
        ops_recurrent,
        ops_sample,
        ops_volume,
    )

    return NCNN
