"""Gemma 2 and 3. Of a model that sees, only the part for text is taken."""

from __future__ import annotations

import gguf

from corral.store.convert.checkpoint import Config
from corral.store.convert.family import Family
from corral.store.convert.safetensors import StoredTensor
from corral.store.convert.stream import Weight


class Gemma2(Family):
    """Gemma 2: norms that scale by one more than they say, scores bent by tanh, every other layer sees a window."""

    architecture = gguf.MODEL_ARCH.GEMMA2
    tied = True

    def add_metadata(self, writer: gguf.GGUFWriter) -> list[Weight]:
        """As any decoder, with the window and the caps; the widths of heads are always said."""
        made = super().add_metadata(writer)
        if not self.config.has("head_dim"):
            writer.add_key_length(self.head_width)
            writer.add_value_length(self.head_width)
        if self.config.has("sliding_window"):
            writer.add_sliding_window(self.config.number("sliding_window"))
        if self.config.has("attn_logit_softcapping"):
            writer.add_attn_logit_softcapping(self.config.real("attn_logit_softcapping"))
        if self.config.has("final_logit_softcapping"):
            writer.add_final_logit_softcapping(self.config.real("final_logit_softcapping"))
        return made

    def weight(self, name: str, sources: list[tuple[str, StoredTensor]]) -> Weight:
        """As any; norms with the one added that llama.cpp does not add."""
        made = super().weight(name, sources)
        if not name.endswith("norm.weight"):
            return made
        return Weight(made.name, made.shape, made.sources, plus=1.0, exact=True)


# What `Gemma3TextConfig` of transformers has where a published config is silent.
_GEMMA3 = {
    "max_position_embeddings": 131_072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
}


class Gemma3(Gemma2):
    """Gemma 3: five layers in six see a window, and turn by a base that llama.cpp knows."""

    architecture = gguf.MODEL_ARCH.GEMMA3
    prefixes = ("language_model.model.", "model.language_model.", "language_model.", "model.")
    skipped = ("vision_tower.", "multi_modal_projector.")
    rope_base = 1_000_000.0

    def read_config(self, config: Config) -> Config:
        """The text's part, with what it leaves unsaid."""
        text = config.section("text_config") if config.has("text_config") else config
        said = {key: value for key, value in text.values.items() if value is not None}
        # Newer configs have one set of angles for each kind of layer; that of the layers that see all is the model's.
        rope = text.section("rope_parameters").section("full_attention")
        if rope.values:
            said["rope_parameters"] = rope.values
        return Config({**_GEMMA3, **said}, text.shown)
