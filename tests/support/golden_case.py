"""One case of reference results, unpacked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from pipeline import AttributionOptions, ReplacementModel


@dataclass(frozen=True)
class GoldenCase:
    """A tiny model, its transcoders, and graphs that circuit-tracer computed for it."""

    folder: Path

    @cached_property
    def description(self) -> dict[str, Any]:
        return json.loads((self.folder / "case.json").read_text())

    @property
    def transcoders(self) -> Path:
        return self.folder / "transcoder"

    @property
    def model_folder(self) -> Path:
        return next(path.parent for path in self.folder.glob("*/model.safetensors"))

    @cached_property
    def model(self) -> ReplacementModel:
        # Its tokenizer has no chat template, which is how the model of a user tells.
        zero_positions = 4 if self.folder.name == "gemma3_it_plt_jumprelu" else None
        return ReplacementModel.from_pretrained(
            str(self.model_folder),
            transcoders=str(self.transcoders),
            device="cpu",
            zero_positions=zero_positions,
        )

    def result(self, name: str) -> dict[str, Tensor]:
        return load_file(self.folder / f"{name}.safetensors")

    def options(self, name: str) -> AttributionOptions:
        """The options of a capped run, or those of a whole graph."""
        if not name.endswith("_limited"):
            return AttributionOptions()
        return AttributionOptions(**self.description["limited_args"][name[len("prompt")]])


LIMITED = [
    "gemma2_clt_jumprelu",
    "gemma2_plt_jumprelu",
    "gpt2_plt_relu",
    "gptoss_plt_jumprelu",
    "llama_clt_jumprelu",
    "llama_clt_relu",
    "llama_plt_relu",
    "llama_plt_relu_residmid",
    "llama_plt_skip_relu",
    "llama_plt_topk",
    "qwen3_plt_relu",
]


WHOLE = [*LIMITED, "gemma3_it_plt_jumprelu", "gemma3_plt_jumprelu"]


TOLERANCE = 1e-4
