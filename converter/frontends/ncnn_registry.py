"""The table `ncnn layer -> IR`. The ncnn_ops_*.py files fill it when they are imported."""

from __future__ import annotations

from edgec.converter.frontends.layer_import import LayerTable

NCNN = LayerTable()


def load_all() -> LayerTable:
    """Imports the files that fill the table."""
    from edgec.converter.frontends import (  # noqa: F401
        ncnn_ops_attention,
        ncnn_ops_conv,
        ncnn_ops_detection,
        ncnn_ops_elementwise,
        ncnn_ops_layout,
        ncnn_ops_norm,
        ncnn_ops_pool,
        ncnn_ops_quant,
        ncnn_ops_recurrent,
        ncnn_ops_sample,
        ncnn_ops_volume,
    )

    return NCNN
