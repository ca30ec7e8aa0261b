"""Record activations of a Hugging Face model while it runs: the one recorder, for freezing a prompt, for
interventions and for training transcoders.

    with record(model, architecture, ["mlp_norm.output", "mlp.output"]) as recorded:
        for tokens in batches:
            model.base_model(input_ids=tokens)  # no logits are needed
            inputs, outputs = recorded["mlp_norm.output", 3], recorded["mlp.output", 3]  # of layer 3

Hooks on the modules that an architecture names keep references to what these read and wrote; nothing of the
model's code is replaced or copied, and tensors stay on their device. Only what is asked for is kept alive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from torch import Tensor, nn

from pipeline.model.architectures import Architecture, optional_module

Site = Literal[
    "embedding.output",
    "attention_norm.input",
    "attention_norm.output",
    "attention.input",
    "attention.output",
    "attention.pattern",
    "value_norm.input",
    "attention_output_norm.input",
    "attention_output_norm.output",
    "mlp_norm.input",
    "mlp_norm.output",
    "mlp.output",
    "token_writer.output",
    "final_norm.input",
    "final_norm.output",
]
"""A module and a side of it. All are (batch, positions, width) but the pattern, which is (batch, heads,
queries, keys), and `value_norm.input`, (batch, positions, key/value heads, head width). `attention.output`
comes before the norm that follows it in some architectures, `mlp.output` after it: what the MLP adds to the
residual stream."""

OPTIONAL = ("value_norm", "token_writer")
"""Modules that some layers of an architecture lack."""

Recording = dict[Site | tuple[Site, int], Tensor]
"""Values of the last pass, by site and layer; by site alone for the embedding and the final norm."""


@contextmanager
def record(model: nn.Module, architecture: Architecture, sites: Collection[Site]) -> Iterator[Recording]:
    """Record sites in every pass that the model makes in this block; each pass overwrites the one before.

    Args:
        model: the model; on leaving, it is as it was.
        architecture: module names of the model.
        sites: sites to record; those that the architecture or a layer lacks are left out.

    """
    recorded: Recording = {}
    with ExitStack() as stack:
        for (module, layer), sides in _modules(model, architecture, sites).items():
            keep = _hook(recorded, sides, layer)
            stack.callback(module.register_forward_hook(keep, with_kwargs=True).remove)
        yield recorded


def _modules(
    model: nn.Module, architecture: Architecture, sites: Collection[Site]
) -> dict[tuple[nn.Module, int | None], dict[str, Site]]:
    """Return each module to watch, with its layer and the site of each side that is wanted."""
    of_model = {"embedding": architecture.embedding, "final_norm": architecture.final_norm}
    of_layer = {
        "attention_norm": architecture.attention_norm,
        "attention": architecture.attention,
        "attention_output_norm": architecture.attention_output_norm,
        "value_norm": architecture.value_norm,
        "token_writer": architecture.token_writer,
        "mlp_norm": architecture.mlp_norm,
        "mlp": architecture.mlp_output_norm or architecture.mlp,
    }
    found: dict[tuple[nn.Module, int | None], dict[str, Site]] = {}
    for site in sites:
        name, _, side = site.partition(".")
        if name in of_model:
            found.setdefault((model.get_submodule(of_model[name]), None), {})[side] = site
        elif path := of_layer[name]:
            for index, layer in enumerate(model.get_submodule(architecture.layers)):
                module = optional_module(layer, path) if name in OPTIONAL else layer.get_submodule(path)
                if module is not None:
                    found.setdefault((module, index), {})[side] = site
    return found


def _hook(recorded: Recording, sides: dict[str, Site], layer: int | None) -> Any:
    keys = {side: site if layer is None else (site, layer) for side, site in sides.items()}

    def keep(_module: nn.Module, args: tuple, kwargs: dict, output: Tensor | tuple) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        if "input" in keys:
            # Some models call their modules with names for everything.
            recorded[keys["input"]] = args[0] if args else kwargs["hidden_states"]
        if "output" in keys:
            recorded[keys["output"]] = outputs[0]
        if "pattern" in keys:
            recorded[keys["pattern"]] = outputs[1]

    return keep
