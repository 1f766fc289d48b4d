"""Phi-3 and what is built like it (Phi-3.5, Phi-4): queries, keys and values in one matrix, as llama.cpp has them."""

from __future__ import annotations

import gguf

from corral.store.convert.family import Family
from corral.store.convert.stream import Weight


class Phi3(Family):
    """Phi-3."""

    architecture = gguf.MODEL_ARCH.PHI3

    def add_metadata(self, writer: gguf.GGUFWriter) -> list[Weight]:
        """As any decoder; the window is said even where there is none, or llama.cpp assumes one."""
        made = super().add_metadata(writer)
        if not made:
            trained = self.config.number(
                "original_max_position_embeddings", default=self.config.number("max_position_embeddings")
            )
            writer.add_rope_scaling_orig_ctx_len(trained)
        writer.add_sliding_window(self.config.number("sliding_window", default=0))
        return made

    def rope_dimensions(self) -> int:
        """Phi-4-mini turns a part of a head."""
        newer = self.config.section("rope_parameters")
        part = self.config.real("partial_rotary_factor", default=newer.real("partial_rotary_factor", default=1.0))
        return int(self.head_width * min(max(part, 0.0), 1.0))
