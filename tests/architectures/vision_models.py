"""Vision networks of the transformers package with small random configurations."""

from __future__ import annotations

import torch
from torch import nn

from tests.zoo.common import random_image

from .registry import Example, architecture

SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
PATCHES = {**SMALL, "image_size": 64, "patch_size": 16}


def _vision(name: str, model: str, size: int = 64, config: str | None = None, **options: object) -> None:
    def make() -> tuple[nn.Module, Example]:
        import transformers

        kind = getattr(transformers, model)
        settings = getattr(transformers, config) if config else kind.config_class
        return kind(settings(**options)), {"pixel_values": random_image(1, 3, size, size)}

    architecture(name, "transformers")(make)


_vision("vit", "ViTForImageClassification", **PATCHES)
_vision("deit", "DeiTForImageClassificationWithTeacher", **PATCHES)
_vision("beit", "BeitModel", use_relative_position_bias=True, use_absolute_position_embeddings=True, **PATCHES)
_vision("data2vec_vision", "Data2VecVisionModel", use_shared_relative_position_bias=True, **PATCHES)
_vision("dinov2", "Dinov2Model", **PATCHES)
_vision("dinov2_interpolated", "Dinov2Model", 80, **{**PATCHES, "image_size": 64})
_vision("siglip_vision", "SiglipVisionModel", **PATCHES)
_vision("clip_vision", "CLIPVisionModelWithProjection", projection_dim=32, **PATCHES)
_vision("yolos", "YolosForObjectDetection", num_detection_tokens=10, **{**PATCHES, "image_size": [64, 64]})
_vision("dpt", "DPTForDepthEstimation", backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 24, 24],
        fusion_hidden_size=16, head_in_index=-1, **{**PATCHES, "num_hidden_layers": 4})  # fmt: skip
SHIFTED = {"image_size": 64, "patch_size": 4, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
_vision("swin", "SwinForImageClassification", **SHIFTED)
_vision("swinv2", "Swinv2Model", **SHIFTED)
_vision("mobilevit", "MobileViTForImageClassification", hidden_sizes=[32, 48, 64], neck_hidden_sizes=[8, 16, 24, 32, 48, 64, 96],
        image_size=64)  # fmt: skip
_vision("mobilevit_segmentation", "MobileViTForSemanticSegmentation", hidden_sizes=[32, 48, 64], image_size=64,
        neck_hidden_sizes=[8, 16, 24, 32, 48, 64, 96], aspp_out_channels=32)  # fmt: skip
_vision("mobilevit_v2", "MobileViTV2ForImageClassification", image_size=64, width_multiplier=0.5)
_vision("convnext", "ConvNextForImageClassification", hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1])
_vision("convnext_v2", "ConvNextV2ForImageClassification", hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1])
STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 2, 2, 4]}
_vision("segformer", "SegformerForSemanticSegmentation", decoder_hidden_size=32, **STAGES)
_vision("glpn", "GLPNForDepthEstimation", decoder_hidden_size=32, **STAGES)
_vision("pvt", "PvtForImageClassification", image_size=64, **STAGES)
_vision("pvt_v2", "PvtV2ForImageClassification", image_size=64, **STAGES)
_vision("poolformer", "PoolFormerForImageClassification", depths=[1, 1, 1, 1], hidden_sizes=[16, 24, 32, 48])
_vision(
    "hiera",
    "HieraForImageClassification",
    image_size=[64, 64],
    embed_dim=16,
    depths=[1, 1, 2, 1],
    num_heads=[1, 2, 2, 4],
)
_vision("levit", "LevitForImageClassification", 128, image_size=128, hidden_sizes=[32, 48, 64], num_attention_heads=[2, 3, 4],
        depths=[1, 1, 1], key_dim=[8, 8, 8])  # fmt: skip
_vision("cvt", "CvtForImageClassification", embed_dim=[16, 24, 32], num_heads=[1, 2, 2], depth=[1, 2, 3])
_vision("focalnet", "FocalNetForImageClassification", image_size=64, embed_dim=24, depths=[1, 1], hidden_sizes=[24, 48],
        focal_levels=[2, 2], focal_windows=[3, 3])  # fmt: skip
_vision(
    "regnet",
    "RegNetForImageClassification",
    embedding_size=8,
    hidden_sizes=[16, 24, 32, 48],
    depths=[1, 1, 2, 1],
    groups_width=8,
)
_vision(
    "resnet_transformers",
    "ResNetForImageClassification",
    embedding_size=8,
    hidden_sizes=[16, 24, 32, 48],
    depths=[1, 1, 2, 1],
)
_vision(
    "bit",
    "BitForImageClassification",
    embedding_size=16,
    hidden_sizes=[32, 48, 64, 96],
    depths=[1, 1, 1, 1],
    num_groups=8,
)
_vision("mobilenet_v1_transformers", "MobileNetV1ForImageClassification", depth_multiplier=0.25, min_depth=8)
_vision("mobilenet_v2_transformers", "MobileNetV2ForImageClassification", depth_multiplier=0.35)
_vision("mobilenet_v2_segmentation", "MobileNetV2ForSemanticSegmentation", depth_multiplier=0.35)
_vision(
    "efficientnet_transformers",
    "EfficientNetForImageClassification",
    width_coefficient=0.25,
    depth_coefficient=0.3,
    hidden_dim=320,
)
_vision("swiftformer", "SwiftFormerForImageClassification", image_size=64, depths=[1, 1, 2, 1],
        embed_dims=[16, 24, 32, 48])  # fmt: skip
_vision("vitdet", "VitDetModel", image_size=64, patch_size=8, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
        window_size=4, window_block_indices=[0], use_relative_position_embeddings=True, pretrain_image_size=64)  # fmt: skip
_vision("ijepa", "IJepaModel", **PATCHES)
_vision("vit_msn", "ViTMSNModel", **PATCHES)
_vision("textnet", "TextNetForImageClassification")


def _resnet_backbone() -> object:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 24, 32, 48],
        depths=[1, 1, 1, 1],
        out_features=["stage4"],
        layer_type="basic",
    )


DETECTOR = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_queries": 12, "use_timm_backbone": False,
    "use_pretrained_backbone": False, "backbone": None,
}  # fmt: skip


@architecture("detr", "transformers")
def _detr() -> tuple[nn.Module, Example]:
    from transformers import DetrConfig, DetrForObjectDetection

    model = DetrForObjectDetection(DetrConfig(**DETECTOR, backbone_config=_resnet_backbone()))
    return model, {"pixel_values": random_image(1, 3, 96, 96)}


@architecture("conditional_detr", "transformers")
def _conditional_detr() -> tuple[nn.Module, Example]:
    from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection

    model = ConditionalDetrForObjectDetection(ConditionalDetrConfig(**DETECTOR, backbone_config=_resnet_backbone()))
    return model, {"pixel_values": random_image(1, 3, 96, 96)}


@architecture("table_transformer", "transformers")
def _table_transformer() -> tuple[nn.Module, Example]:
    from transformers import TableTransformerConfig, TableTransformerForObjectDetection

    model = TableTransformerForObjectDetection(TableTransformerConfig(**DETECTOR, backbone_config=_resnet_backbone()))
    return model, {"pixel_values": random_image(1, 3, 96, 96)}


class EncoderOfDetector(nn.Module):
    """What RT-DETR computes ahead of choosing its queries: scores and boxes of all positions, fused features.

    The best twelve scores of an untrained one lie within 1e-6, many are equal: which are chosen, and in which order,
    is rounding. Behind that choice torch differs from its own float64 run by 1.4e-2 (logits) and 0.33 (boxes).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.model(pixel_values)
        return y.enc_outputs_class, y.enc_outputs_coord_logits


@architecture("rt_detr_encoder", "transformers")
def _rt_detr() -> tuple[nn.Module, Example]:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    backbone = RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 24, 32, 48],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone, backbone=None, use_timm_backbone=False, use_pretrained_backbone=False, encoder_hidden_dim=32,
        encoder_in_channels=[24, 32, 48], encoder_ffn_dim=64, encoder_attention_heads=4, d_model=32, num_queries=12,
        decoder_in_channels=[32, 32, 32], decoder_ffn_dim=64, decoder_layers=2, decoder_attention_heads=4, num_denoising=0,
        decoder_n_points=2,
    )  # fmt: skip
    return EncoderOfDetector(RTDetrForObjectDetection(config)), {"pixel_values": random_image(1, 3, 96, 96)}


@architecture("upernet", "transformers")
def _upernet() -> tuple[nn.Module, Example]:
    from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

    backbone = ConvNextConfig(
        hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = UperNetConfig(
        backbone_config=backbone,
        backbone=None,
        use_pretrained_backbone=False,
        hidden_size=24,
        auxiliary_in_channels=32,
        auxiliary_channels=16,
    )
    return UperNetForSemanticSegmentation(config), {"pixel_values": random_image(1, 3, 64, 64)}


@architecture("depth_anything", "transformers")
def _depth_anything() -> tuple[nn.Module, Example]:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        image_size=56, patch_size=14, hidden_size=48, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=2,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=48,
        neck_hidden_sizes=[8, 16, 24, 32],
        fusion_hidden_size=16,
        patch_size=14,
    )
    return DepthAnythingForDepthEstimation(config), {"pixel_values": random_image(1, 3, 84, 84)}


@architecture("clip", "transformers")
def _clip() -> tuple[nn.Module, Example]:
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={**SMALL, "vocab_size": 200, "eos_token_id": 2}, vision_config=PATCHES, projection_dim=32
    )
    return CLIPModel(config), {"input_ids": torch.randint(3, 200, (2, 9)), "pixel_values": random_image(2, 3, 64, 64)}


@architecture("sam_vision_encoder", "transformers")
def _sam_vision_encoder() -> tuple[nn.Module, Example]:
    from transformers import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamVisionEncoder

    config = SamVisionConfig(
        hidden_size=48, output_channels=24, num_hidden_layers=2, num_attention_heads=4, image_size=64, patch_size=8,
        window_size=4, global_attn_indexes=[1], mlp_dim=96,
    )  # fmt: skip
    return SamVisionEncoder(config), {"pixel_values": random_image(1, 3, 64, 64)}


_vision("dinov3", "DINOv3ViTModel", **PATCHES)
_vision("dinov3_convnext", "DINOv3ConvNextModel", hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1])
_vision("blip_vision", "BlipVisionModel", **PATCHES)
_vision("aimv2_vision", "Aimv2VisionModel", **PATCHES)
_vision("swin2sr", "Swin2SRForImageSuperResolution", 32, image_size=32, embed_dim=24, depths=[2, 2], num_heads=[2, 2],
        window_size=4, upscale=2)  # fmt: skip
_vision("hgnet_v2", "HGNetV2ForImageClassification", stem_channels=[3, 8, 16], stage_in_channels=[16, 16, 32, 32],
        stage_mid_channels=[8, 16, 16, 16], stage_out_channels=[16, 32, 32, 48], stage_num_blocks=[1, 1, 1, 1],
        embedding_size=16, hidden_sizes=[16, 32, 32, 48], depths=[1, 1, 1, 1])  # fmt: skip
_vision("superpoint", "SuperPointForKeypointDetection", encoder_hidden_sizes=[8, 8, 16, 16], decoder_hidden_size=16,
        descriptor_decoder_dim=16)  # fmt: skip


def _video(name: str, model: str, **options: object) -> None:
    def make() -> tuple[nn.Module, Example]:
        import transformers

        kind = getattr(transformers, model)
        return kind(kind.config_class(**PATCHES, num_frames=4, **options)), {
            "pixel_values": torch.randn(1, 4, 3, 64, 64)
        }

    architecture(name, "transformers")(make)


_video("timesformer", "TimesformerModel")
_video("videomae", "VideoMAEForVideoClassification")


@architecture("mask2former", "transformers")
def _mask2former() -> tuple[nn.Module, Example]:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    backbone = SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=32, feature_size=32, mask_feature_size=32, encoder_layers=1, decoder_layers=2,
        num_attention_heads=4, encoder_feedforward_dim=32, dim_feedforward=32, num_queries=6,
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config), {"pixel_values": random_image(1, 3, 64, 64)}


@architecture("deformable_detr", "transformers")
def _deformable_detr() -> tuple[nn.Module, Example]:
    from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = DeformableDetrConfig(
        backbone_config=backbone, use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, d_model=32,
        encoder_layers=1, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=32,
        decoder_ffn_dim=32, num_queries=8, num_feature_levels=3,
    )  # fmt: skip
    return DeformableDetrForObjectDetection(config), {"pixel_values": random_image(1, 3, 64, 64)}


SMALL_TEXT = {**SMALL, "hidden_size": 32, "vocab_size": 200, "max_position_embeddings": 16, "eos_token_id": 2}


@architecture("owlvit", "transformers")
def _owlvit() -> tuple[nn.Module, Example]:
    from transformers import OwlViTConfig, OwlViTForObjectDetection

    config = OwlViTConfig(text_config=SMALL_TEXT, vision_config=PATCHES, projection_dim=32)
    ids = torch.randint(3, 200, (2, 16))
    image = random_image(1, 3, 64, 64)
    return OwlViTForObjectDetection(config), {
        "input_ids": ids,
        "pixel_values": image,
        "attention_mask": torch.ones_like(ids),
    }


@architecture("clipseg", "transformers")
def _clipseg() -> tuple[nn.Module, Example]:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    config = CLIPSegConfig(
        text_config=SMALL_TEXT, vision_config=PATCHES, projection_dim=32, extract_layers=[0, 1], reduce_dim=16,
        decoder_num_attention_heads=2, decoder_intermediate_size=32, conditional_layer=0,
    )  # fmt: skip
    return CLIPSegForImageSegmentation(config), {
        "input_ids": torch.randint(3, 200, (1, 16)), "pixel_values": random_image(1, 3, 64, 64)
    }  # fmt: skip


@architecture("sam", "transformers")
def _sam() -> tuple[nn.Module, Example]:
    from transformers import SamConfig, SamModel

    config = SamConfig(
        vision_config={
            "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
            "patch_size": 16, "window_size": 2, "global_attn_indexes": [1], "mlp_dim": 64, "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4, "num_point_embeddings": 4
        },
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 16
        },
    )  # fmt: skip
    return SamModel(config), {"pixel_values": random_image(1, 3, 64, 64), "input_points": torch.rand(1, 1, 2, 2) * 60}
