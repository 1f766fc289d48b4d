"""BERT and nomic-bert: encoders that turn a text into a vector."""

from __future__ import annotations

import gguf

from corral.store.convert.family import Family
from corral.store.convert.rope import add_rope
from corral.store.convert.stream import Weight
from corral.store.convert.vocabulary import Vocabulary
from corral.store.convert.wordpiece import wordpiece_vocabulary


class Bert(Family):
    """BERT: positions in a table, layer norms with biases."""

    architecture = gguf.MODEL_ARCH.BERT
    prefixes = ("bert.",)
    skipped = ("pooler.", "cls.", "embeddings.position_ids")

    def add_metadata(self, writer: gguf.GGUFWriter) -> list[Weight]:
        """Write what an encoder is; without a word on pooling the mean is taken, as most were trained."""
        config = self.config
        writer.add_context_length(config.number("max_position_embeddings", "n_positions", "max_trained_positions"))
        writer.add_embedding_length(self.width)
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(config.number("intermediate_size", "n_inner"))
        writer.add_head_count(self.heads)
        writer.add_layer_norm_eps(config.real("layer_norm_eps", "layer_norm_epsilon", default=1e-12))
        writer.add_causal_attention(False)
        writer.add_token_type_count(config.number("type_vocab_size", default=2))
        if "1_Pooling/config.json" not in self.checkpoint.files:
            writer.add_pooling_type(gguf.PoolingType.MEAN)
        return []

    def vocabulary(self) -> Vocabulary:
        """The tokenizer: WordPiece."""
        return wordpiece_vocabulary(self.checkpoint, self.embedding_rows())

    def gguf_name(self, name: str) -> str | None:
        """As any; names are looked up as they stand."""
        return self._names.get_name(self._bare(name), (".weight", ".bias"))


class NomicBert(Bert):
    """nomic-bert: BERT with rotary embeddings and gated feed-forward."""

    architecture = gguf.MODEL_ARCH.NOMIC_BERT

    def add_metadata(self, writer: gguf.GGUFWriter) -> list[Weight]:
        """As BERT, with the angles."""
        made = super().add_metadata(writer)
        return made + add_rope(writer, self.config, self.rope_dimensions(), base=1000.0)
