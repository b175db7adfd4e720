"""Speech networks: of the transformers package with small random configurations, and in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .registry import Example, architecture

WHISPER = {
    "vocab_size": 200, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "num_mel_bins": 20,
    "max_source_positions": 30, "max_target_positions": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1, "use_cache": False, "suppress_tokens": None, "begin_suppress_tokens": None,
}  # fmt: skip
WAVE = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 30,
    "conv_dim": [24, 24, 32], "conv_kernel": [10, 3, 3], "conv_stride": [5, 2, 2], "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip


@architecture("whisper_encoder", "transformers")
def _whisper_encoder() -> tuple[nn.Module, Example]:
    from transformers import WhisperConfig, WhisperModel

    return WhisperModel(WhisperConfig(**WHISPER)).encoder, {"input_features": torch.randn(1, 20, 60)}


@architecture("whisper_decoder", "transformers")
def _whisper_decoder() -> tuple[nn.Module, Example]:
    from transformers import WhisperConfig, WhisperModel

    inputs = {"input_ids": torch.randint(3, 200, (1, 7)), "encoder_hidden_states": torch.randn(1, 30, 64)}
    return WhisperModel(WhisperConfig(**WHISPER)).decoder, inputs


@architecture("whisper", "transformers")
def _whisper() -> tuple[nn.Module, Example]:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    inputs = {"input_features": torch.randn(1, 20, 60), "decoder_input_ids": torch.randint(3, 200, (1, 7))}
    return WhisperForConditionalGeneration(WhisperConfig(**WHISPER)), inputs


@architecture("wav2vec2", "transformers")
def _wav2vec2() -> tuple[nn.Module, Example]:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    return Wav2Vec2ForCTC(Wav2Vec2Config(**WAVE)), {"input_values": torch.randn(1, 1600)}


@architecture("wav2vec2_conformer", "transformers")
def _wav2vec2_conformer() -> tuple[nn.Module, Example]:
    from transformers import Wav2Vec2ConformerConfig, Wav2Vec2ConformerModel

    config = Wav2Vec2ConformerConfig(**WAVE, conv_depthwise_kernel_size=7)
    return Wav2Vec2ConformerModel(config), {"input_values": torch.randn(1, 1600)}


@architecture("hubert", "transformers")
def _hubert() -> tuple[nn.Module, Example]:
    from transformers import HubertConfig, HubertModel

    return HubertModel(HubertConfig(**WAVE)), {"input_values": torch.randn(1, 1600)}


@architecture("wavlm", "transformers")
def _wavlm() -> tuple[nn.Module, Example]:
    from transformers import WavLMConfig, WavLMModel

    return WavLMModel(WavLMConfig(**WAVE)), {"input_values": torch.randn(1, 1600)}


@architecture("audio_spectrogram_transformer", "transformers")
def _audio_spectrogram_transformer() -> tuple[nn.Module, Example]:
    from transformers import ASTConfig, ASTForAudioClassification

    config = ASTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, max_length=64, num_mel_bins=32
    )
    return ASTForAudioClassification(config), {"input_values": torch.randn(1, 64, 32)}


@architecture("encodec", "transformers")
def _encodec() -> tuple[nn.Module, Example]:
    from transformers import EncodecConfig, EncodecModel

    config = EncodecConfig(num_filters=4, hidden_size=16, codebook_dim=16, upsampling_ratios=[4, 2], num_lstm_layers=1)
    return EncodecModel(config).encoder, (torch.randn(1, 1, 640),)


@architecture("hifigan", "transformers")
def _hifigan() -> tuple[nn.Module, Example]:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig(
        model_in_dim=16, upsample_initial_channel=32, upsample_rates=[4, 4], upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 3], [1, 3]],
    )  # fmt: skip
    return SpeechT5HifiGan(config), {"spectrogram": torch.randn(1, 20, 16)}


@architecture("univnet", "transformers")
def _univnet() -> tuple[nn.Module, Example]:
    from transformers import UnivNetConfig, UnivNetModel

    config = UnivNetConfig(
        model_in_channels=8,
        model_hidden_channels=8,
        num_mel_bins=16,
        kernel_predictor_hidden_channels=8,
        resblock_stride_sizes=[4, 4, 2],
    )
    return UnivNetModel(config), {"input_features": torch.randn(1, 12, 16), "noise_sequence": torch.randn(1, 12, 8)}


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward (Gulati 2020)."""

    def __init__(self, width: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.first = self._feed_forward(width)
        self.second = self._feed_forward(width)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.convolution_norm = nn.LayerNorm(width)
        self.convolution = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1),
            nn.GLU(1),
            nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            nn.Conv1d(width, width, 1),
        )
        self.norm = nn.LayerNorm(width)

    @staticmethod
    def _feed_forward(width: int) -> nn.Module:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        y = self.attention_norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.convolution(self.convolution_norm(x).transpose(1, 2)).transpose(1, 2)
        return self.norm(x + 0.5 * self.second(x))


class Conformer(nn.Module):
    """Subsampling by four, two blocks, CTC head. Input [N, frames, 40]."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.subsampling = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU())
        self.project = nn.Linear(8 * 9, width)
        self.blocks = nn.Sequential(*(ConformerBlock(width, 4, 7) for _ in range(2)))
        self.head = nn.Linear(width, 30)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.subsampling(frames.unsqueeze(1))
        x = self.project(x.permute(0, 2, 1, 3).flatten(2))
        return torch.log_softmax(self.head(self.blocks(x)), -1)


class TemporalBlock(nn.Module):
    """Two causal dilated convolutions with a residual (Bai 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.padding = (kernel - 1) * dilation
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(inputs, outputs, kernel, dilation=dilation))
        self.second = nn.utils.parametrizations.weight_norm(nn.Conv1d(outputs, outputs, kernel, dilation=dilation))
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(nn.functional.pad(x, (self.padding, 0))))
        y = torch.relu(self.second(nn.functional.pad(y, (self.padding, 0))))
        return torch.relu(y + self.shortcut(x))


class WaveNet(nn.Module):
    """Gated dilated causal convolutions with skip connections (van den Oord 2016)."""

    def __init__(self, width: int = 16, layers: int = 6) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 2, dilation=2**i) for i in range(layers))
        self.residuals = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.skips = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.end = nn.Sequential(nn.ReLU(), nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, 32, 1))

    def forward(self, wave: Tensor) -> Tensor:
        x = self.start(wave)
        total: Tensor | int = 0
        for i, (gate, residual, skip) in enumerate(zip(self.gates, self.residuals, self.skips, strict=True)):
            filtered, opened = gate(nn.functional.pad(x, (2**i, 0))).chunk(2, 1)
            y = torch.tanh(filtered) * torch.sigmoid(opened)
            total = total + skip(y)
            x = x + residual(y)
        return self.end(total)


class ConvTasNet(nn.Module):
    """Learned filter bank, temporal convolution network of masks, overlap-add by transposed convolution (Luo 2019)."""

    def __init__(self, filters: int = 32, width: int = 24, speakers: int = 2) -> None:
        super().__init__()
        self.speakers = speakers
        self.encoder = nn.Conv1d(1, filters, 16, 8, bias=False)
        self.bottleneck = nn.Sequential(nn.GroupNorm(1, filters), nn.Conv1d(filters, width, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, 32, 1), nn.PReLU(), nn.GroupNorm(1, 32),
                nn.Conv1d(32, 32, 3, padding=2**i, dilation=2**i, groups=32), nn.PReLU(), nn.GroupNorm(1, 32), nn.Conv1d(32, width, 1),
            )
            for i in range(3)
        )  # fmt: skip
        self.masks = nn.Sequential(nn.PReLU(), nn.Conv1d(width, speakers * filters, 1), nn.Sigmoid())
        self.decoder = nn.ConvTranspose1d(filters, 1, 16, 8, bias=False)

    def forward(self, wave: Tensor) -> Tensor:
        features = torch.relu(self.encoder(wave))
        x = self.bottleneck(features)
        for block in self.blocks:
            x = x + block(x)
        masks = self.masks(x).unflatten(1, (self.speakers, -1))
        parts = (masks * features.unsqueeze(1)).flatten(0, 1)
        return self.decoder(parts).unflatten(0, (-1, self.speakers)).squeeze(2)


class SpectrogramClassifier(nn.Module):
    """Short-time Fourier transform, mel-like projection, logarithm, small convolutional network: all inside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(64))
        self.mel = nn.Linear(33, 20, bias=False)
        self.network = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        )

    def forward(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, 64, 32, window=self.window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)
        mel = torch.log1p(self.mel(power.transpose(1, 2)).abs())
        return self.network(mel.unsqueeze(1))


class RecurrentDenoiser(nn.Module):
    """Mask of a spectrogram from stacked GRUs with their states as inputs and outputs, as streaming runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(33, 32, num_layers=2, batch_first=True)
        self.mask = nn.Linear(32, 33)

    def forward(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.recurrent(frames, state)
        return frames * torch.sigmoid(self.mask(y)), state


architecture("conformer")(lambda: (Conformer(), (torch.randn(1, 50, 40),)))
architecture("tcn")(
    lambda: (
        nn.Sequential(TemporalBlock(8, 24, 3, 1), TemporalBlock(24, 24, 3, 2), TemporalBlock(24, 24, 3, 4)),
        (torch.randn(1, 8, 60),),
    )
)
architecture("wavenet")(lambda: (WaveNet(), (torch.randn(1, 1, 200),)))
architecture("conv_tasnet")(lambda: (ConvTasNet(), (torch.randn(1, 1, 808),)))
architecture("spectrogram_classifier")(lambda: (SpectrogramClassifier(), (torch.randn(1, 1600),)))
architecture("recurrent_denoiser")(lambda: (RecurrentDenoiser(), (torch.randn(1, 10, 33), torch.randn(2, 1, 32))))


@architecture("speecht5", "transformers")
def _speecht5() -> tuple[nn.Module, Example]:
    from transformers import SpeechT5Config, SpeechT5ForSpeechToText

    config = SpeechT5Config(
        vocab_size=200, hidden_size=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, conv_dim=(16, 16, 16), conv_stride=(5, 2, 2),
        conv_kernel=(10, 3, 3), num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, use_cache=False,
    )  # fmt: skip
    inputs = {"input_values": torch.randn(1, 1600), "decoder_input_ids": torch.randint(3, 200, (1, 7))}
    return SpeechT5ForSpeechToText(config), inputs


@architecture("wav2vec2_bert", "transformers")
def _wav2vec2_bert() -> tuple[nn.Module, Example]:
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

    config = Wav2Vec2BertConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, feature_projection_input_dim=40,
        conv_depthwise_kernel_size=7,
    )  # fmt: skip
    return Wav2Vec2BertModel(config), {"input_features": torch.randn(1, 30, 40)}


@architecture("parakeet", "transformers")
def _parakeet() -> tuple[nn.Module, Example]:
    from transformers import ParakeetEncoder, ParakeetEncoderConfig

    config = ParakeetEncoderConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, subsampling_conv_channels=16,
        num_mel_bins=40, conv_kernel_size=5,
    )  # fmt: skip
    return ParakeetEncoder(config), {"input_features": torch.randn(1, 64, 40)}


@architecture("moonshine", "transformers")
def _moonshine() -> tuple[nn.Module, Example]:
    from transformers import MoonshineConfig, MoonshineModel

    config = MoonshineConfig(
        vocab_size=200, hidden_size=64, intermediate_size=96, encoder_num_hidden_layers=2, decoder_num_hidden_layers=2,
        encoder_num_attention_heads=4, decoder_num_attention_heads=4, use_cache=False,
    )  # fmt: skip
    return MoonshineModel(config), {
        "input_values": torch.randn(1, 4000),
        "decoder_input_ids": torch.randint(3, 200, (1, 7)),
    }


@architecture("dac", "transformers")
def _dac() -> tuple[nn.Module, Example]:
    from transformers import DacConfig, DacModel

    config = DacConfig(
        encoder_hidden_size=8, downsampling_ratios=[2, 4], decoder_hidden_size=32, n_codebooks=2, codebook_size=32,
        codebook_dim=4,
    )  # fmt: skip
    return DacModel(config), {"input_values": torch.randn(1, 1, 400)}


@architecture("patchtst", "transformers")
def _patchtst() -> tuple[nn.Module, Example]:
    from transformers import PatchTSTConfig, PatchTSTForPrediction

    config = PatchTSTConfig(
        num_input_channels=3, context_length=32, patch_length=8, patch_stride=4, d_model=32, num_attention_heads=4,
        num_hidden_layers=2, ffn_dim=48, prediction_length=8,
    )  # fmt: skip
    return PatchTSTForPrediction(config), {"past_values": torch.randn(1, 32, 3)}
