"""Text networks of the transformers package with small random configurations."""

from __future__ import annotations

import torch
from torch import nn

from .registry import Example, Maker, architecture

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 200,
}


def tokens(length: int = 12, mask: bool = True, vocabulary: int = 200) -> dict[str, torch.Tensor]:
    """Token ids and a mask that hides the last two."""
    result = {"input_ids": torch.randint(3, vocabulary, (1, length))}
    if mask:
        result["attention_mask"] = torch.ones(1, length, dtype=torch.int64)
        result["attention_mask"][:, -2:] = 0
    return result


def _encoder(name: str, model: str, **options: object) -> None:
    def make() -> tuple[nn.Module, Example]:
        import transformers

        kind = getattr(transformers, model)
        return kind(kind.config_class(**{**SMALL, **options})), tokens()

    architecture(name, "transformers")(make)


_encoder("bert", "BertModel")
_encoder("bert_question_answering", "BertForQuestionAnswering")
_encoder("bert_masked_lm", "BertForMaskedLM")
_encoder("distilbert", "DistilBertForSequenceClassification", dim=64, n_layers=2, n_heads=4, hidden_dim=96)
_encoder("roberta", "RobertaForTokenClassification")
_encoder("albert", "AlbertModel", embedding_size=32)
_encoder("electra", "ElectraForPreTraining", embedding_size=32)
_encoder("mobilebert", "MobileBertModel", embedding_size=32, intra_bottleneck_size=32, num_feedforward_networks=2)
_encoder("squeezebert", "SqueezeBertModel", embedding_size=64)
_encoder("mpnet", "MPNetModel")
_encoder("deberta_v2", "DebertaV2Model", relative_attention=True, position_buckets=8, pos_att_type=["p2c", "c2p"])
_encoder("modernbert", "ModernBertModel", pad_token_id=0, attn_implementation="eager")
_encoder("xlm_roberta", "XLMRobertaForSequenceClassification")
_encoder("fnet", "FNetModel")
_encoder("splinter", "SplinterModel")
_encoder("deberta", "DebertaModel", relative_attention=True, pos_att_type=["p2c", "c2p"], max_relative_positions=16)
_encoder("convbert", "ConvBertModel", embedding_size=32, head_ratio=2, conv_kernel_size=3)
_encoder("roformer", "RoFormerModel", embedding_size=32)
_encoder("esm", "EsmModel", pad_token_id=1, mask_token_id=2, position_embedding_type="rotary")
_encoder("xlm", "XLMModel", emb_dim=64, n_layers=2, n_heads=4, n_words=200)
_encoder(
    "canine",
    "CanineModel",
    local_transformer_stride=8,
    upsampling_kernel_size=3,
    downsampling_rate=4,
    num_hash_buckets=64,
)


def _decoder(name: str, model: str, **options: object) -> None:
    def make() -> tuple[nn.Module, Example]:
        import transformers

        kind = getattr(transformers, model)
        settings = {**SMALL, "use_cache": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **options}
        return kind(kind.config_class(**settings)), tokens(mask=False)

    architecture(name, "transformers")(make)


GROUPED = {"num_key_value_heads": 2, "max_position_embeddings": 64}

_decoder("gpt2", "GPT2LMHeadModel", n_embd=64, n_layer=2, n_head=4)
_decoder(
    "gpt_neo", "GPTNeoForCausalLM", num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4
)
_decoder("gpt_neox", "GPTNeoXForCausalLM")
_decoder("gptj", "GPTJForCausalLM", n_embd=64, n_layer=2, n_head=4, rotary_dim=8)
_decoder("opt", "OPTForCausalLM", ffn_dim=96, word_embed_proj_dim=64)
_decoder("bloom", "BloomForCausalLM", n_layer=2, n_head=4)
_decoder("falcon", "FalconForCausalLM")
_decoder("llama", "LlamaForCausalLM", **GROUPED)
_decoder("mistral", "MistralForCausalLM", sliding_window=8, **GROUPED)
_decoder("qwen2", "Qwen2ForCausalLM", **GROUPED)
_decoder("qwen3", "Qwen3ForCausalLM", head_dim=16, **GROUPED)
_decoder("gemma", "GemmaForCausalLM", head_dim=16, **GROUPED)
_decoder("gemma2", "Gemma2ForCausalLM", head_dim=16, sliding_window=8, **GROUPED)
_decoder("phi", "PhiForCausalLM")
_decoder("stablelm", "StableLmForCausalLM", **GROUPED)
_decoder("olmo", "OlmoForCausalLM", **GROUPED)
_decoder("mixtral", "MixtralForCausalLM", num_local_experts=4, **GROUPED)
_decoder("mamba", "MambaForCausalLM", state_size=8)
_decoder("rwkv", "RwkvForCausalLM", attention_hidden_size=64, context_length=32)
_decoder("phi3", "Phi3ForCausalLM", **GROUPED)
_decoder("codegen", "CodeGenForCausalLM", n_embd=64, n_layer=2, n_head=4, rotary_dim=8)
_decoder("mpt", "MptForCausalLM", d_model=64, n_heads=4, n_layers=2, max_seq_len=64)
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
_decoder("qwen3_moe", "Qwen3MoeForCausalLM", num_experts=4, head_dim=16, **EXPERTS, **GROUPED)
_decoder(
    "gpt_oss", "GptOssForCausalLM", num_local_experts=4, num_experts_per_tok=2, head_dim=16, sliding_window=8, **GROUPED
)
_decoder(
    "deepseek_v2", "DeepseekV2ForCausalLM", num_key_value_heads=4, kv_lora_rank=16, q_lora_rank=24, qk_rope_head_dim=8,
    qk_nope_head_dim=16, v_head_dim=16, head_dim=8, n_routed_experts=4, n_shared_experts=1, first_k_dense_replace=1,
    n_group=1, topk_group=1, **EXPERTS,
)  # fmt: skip
_decoder("mamba2", "Mamba2ForCausalLM", state_size=8, head_dim=16, num_heads=8, n_groups=2, expand=2, chunk_size=4)
_decoder(
    "recurrent_gemma", "RecurrentGemmaForCausalLM", lru_width=64, attention_window_size=8, num_hidden_layers=3,
    num_key_value_heads=1,
)  # fmt: skip
_decoder("lfm2", "Lfm2ForCausalLM", layer_types=["conv", "full_attention"], **GROUPED)
_decoder("xlnet", "XLNetModel", d_model=64, n_layer=2, n_head=4, d_inner=96)


@architecture("llama_with_mask", "transformers")
def _llama_with_mask() -> tuple[nn.Module, Example]:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**SMALL, **GROUPED, use_cache=False)), tokens()


T5 = {
    "vocab_size": 200,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 96,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}


@architecture("funnel", "transformers")
def _funnel() -> tuple[nn.Module, Example]:
    from transformers import FunnelConfig, FunnelModel

    config = FunnelConfig(
        vocab_size=200, d_model=64, n_head=4, d_head=16, d_inner=96, block_sizes=[1, 1], num_decoder_layers=1
    )
    return FunnelModel(config), tokens()


@architecture("t5_encoder", "transformers")
def _t5_encoder() -> tuple[nn.Module, Example]:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(**T5)), tokens()


@architecture("t5", "transformers")
def _t5() -> tuple[nn.Module, Example]:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(**T5, use_cache=False, feed_forward_proj="gated-gelu")
    return T5ForConditionalGeneration(config), {**tokens(), "decoder_input_ids": torch.randint(3, 200, (1, 7))}


@architecture("bart", "transformers")
def _bart() -> tuple[nn.Module, Example]:
    from transformers import BartConfig, BartModel

    config = BartConfig(
        vocab_size=200, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=64, use_cache=False,
    )  # fmt: skip
    return BartModel(config), {**tokens(), "decoder_input_ids": torch.randint(3, 200, (1, 7))}


@architecture("marian", "transformers")
def _marian() -> tuple[nn.Module, Example]:
    from transformers import MarianConfig, MarianModel

    config = MarianConfig(
        vocab_size=200, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, pad_token_id=0,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=64, use_cache=False,
        decoder_start_token_id=1,
    )  # fmt: skip
    return MarianModel(config), {**tokens(), "decoder_input_ids": torch.randint(3, 200, (1, 7))}


TRANSLATION = {
    "vocab_size": 200, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "max_position_embeddings": 64,
    "use_cache": False, "pad_token_id": 0, "decoder_start_token_id": 1,
}  # fmt: skip


def _translator(name: str, model: str, **options: object) -> None:
    def make() -> tuple[nn.Module, Example]:
        import transformers

        kind = getattr(transformers, model)
        inputs = {**tokens(), "decoder_input_ids": torch.randint(3, 200, (1, 7))}
        return kind(kind.config_class(**{**TRANSLATION, **options})), inputs

    architecture(name, "transformers")(make)


_translator("pegasus", "PegasusModel")


@architecture("layoutlmv3", "transformers")
def _layoutlmv3() -> tuple[nn.Module, Example]:
    from transformers import LayoutLMv3Config, LayoutLMv3Model

    config = LayoutLMv3Config(
        **SMALL, max_2d_position_embeddings=64, input_size=64, patch_size=16, coordinate_size=10, shape_size=12
    )
    boxes = torch.randint(0, 32, (1, 12, 1)).repeat(1, 1, 4)
    return LayoutLMv3Model(config), {**tokens(), "bbox": boxes, "pixel_values": torch.randn(1, 3, 64, 64)}


@architecture("clip_text", "transformers")
def _clip_text() -> tuple[nn.Module, Example]:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig(**SMALL, projection_dim=32, eos_token_id=2)), tokens()


class LastTokenStep(nn.Module):
    """One decoding step of a Llama with its cache as plain tensors [layer, 1, heads, past, head_dim], as phones run it."""

    def __init__(self, model: nn.Module, layers: int) -> None:
        super().__init__()
        self.model = model
        self.layers = layers

    def forward(self, input_ids: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(self.layers):
            cache.update(keys[layer], values[layer], layer)
        result = self.model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        layers = result.past_key_values.layers
        return result.logits, torch.stack([x.keys for x in layers]), torch.stack([x.values for x in layers])


@architecture("llama_decoding_step", "transformers")
def _llama_decoding_step() -> tuple[nn.Module, Example]:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**SMALL, **GROUPED))
    past = torch.randn(2, 2, 1, 2, 9, 16)
    return LastTokenStep(model, 2), (torch.randint(3, 200, (1, 1)), past[0], past[1])


def _plain(name: str, make: Maker) -> None:
    architecture(name)(make)


class RecurrentTagger(nn.Module):
    """Embedding, two bidirectional LSTM layers, one label per token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 32)
        self.recurrent = nn.LSTM(32, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(48, 9)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(self.embedding(tokens))[0])


class AttentionTranslator(nn.Module):
    """GRU encoder, GRU decoder with teacher forcing and dot-product attention (Luong 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(200, 32)
        self.target = nn.Embedding(150, 32)
        self.encoder = nn.GRU(32, 48, batch_first=True)
        self.decoder = nn.GRU(32, 48, batch_first=True)
        self.head = nn.Linear(96, 150)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory, state = self.encoder(self.source(source))
        steps, _ = self.decoder(self.target(target), state)
        weights = torch.softmax(torch.einsum("btd,bsd->bts", steps, memory), -1)
        return self.head(torch.cat([steps, torch.einsum("bts,bsd->btd", weights, memory)], -1))


class TextCNN(nn.Module):
    """Parallel convolutions over word vectors, maximum over time (Kim 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 32)
        self.convolutions = nn.ModuleList(nn.Conv1d(32, 24, k) for k in (3, 4, 5))
        self.head = nn.Linear(72, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens).transpose(1, 2)
        return self.head(torch.cat([torch.relu(c(x)).amax(-1) for c in self.convolutions], 1))


class TorchTransformer(nn.Module):
    """torch's own encoder and decoder layers, causal mask in the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 32)
        self.transformer = nn.Transformer(32, 4, 2, 2, 64, batch_first=True, activation="gelu")
        self.head = nn.Linear(32, 200)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        return self.head(self.transformer(self.embedding(source), self.embedding(target), tgt_mask=causal))


_plain("lstm_tagger", lambda: (RecurrentTagger(), (torch.randint(0, 200, (1, 15)),)))
_plain(
    "gru_attention_translator",
    lambda: (AttentionTranslator(), (torch.randint(0, 150, (1, 11)), torch.randint(0, 150, (1, 7)))),
)
_plain("text_cnn", lambda: (TextCNN(), (torch.randint(0, 200, (1, 15)),)))
_plain(
    "torch_transformer", lambda: (TorchTransformer(), (torch.randint(0, 200, (1, 11)), torch.randint(0, 200, (1, 7))))
)
