"""The recorder keeps what modules read and wrote in the last pass, and leaves nothing behind."""

from __future__ import annotations

import pytest
import torch

from pipeline.model import record
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_inputs_and_outputs_of_mlps_are_recorded_for_batches_of_text(recipe: Recipe) -> None:
    model = random_model(recipe)
    batch = torch.tensor([TOKENS, TOKENS[::-1]])
    with record(model.model, model.architecture, ["mlp_norm.output", "mlp.output"]) as recorded:
        model.model.base_model(input_ids=batch[1:])
        model.model.base_model(input_ids=batch)
    assert set(recorded) == {
        (site, layer) for site in ("mlp_norm.output", "mlp.output") for layer in range(model.n_layers)
    }
    outputs = recorded["mlp.output", model.n_layers - 1]
    assert outputs.shape == (2, len(TOKENS), model.d_model)
    with record(model.model, model.architecture, ["mlp.output"]) as alone, torch.no_grad():
        model.model(input_ids=batch[:1])
    torch.testing.assert_close(alone["mlp.output", model.n_layers - 1][0], outputs[0])


def test_a_residual_stream_is_the_sum_of_what_was_recorded() -> None:
    model = random_model(Recipe("llama", layers=2))
    sites = ["embedding.output", "attention.output", "mlp.output", "final_norm.input"]
    with record(model.model, model.architecture, sites) as recorded, torch.no_grad():
        model.model(input_ids=torch.tensor([TOKENS]))
    written = [recorded[f"{module}.output", layer] for module in ("attention", "mlp") for layer in range(2)]
    total = recorded["embedding.output"] + sum(written)
    torch.testing.assert_close(total, recorded["final_norm.input"])


def test_hooks_go_with_the_block_even_when_it_fails() -> None:
    model = random_model(Recipe("llama"))
    with (
        pytest.raises(RuntimeError, match="stop"),
        record(model.model, model.architecture, ["mlp.output", "final_norm.output"]),
    ):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks for module in model.model.modules())
