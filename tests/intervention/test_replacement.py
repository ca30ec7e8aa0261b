"""The replacement run: what a graph describes, on random models of every architecture in float64."""

from __future__ import annotations

import pytest
import torch

from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.batch import intervene_many
from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.intervention_pass import InterventionPass
from pipeline.intervention.mode import DEFAULT, REPLACEMENT
from pipeline.model import hooked_output
from tests.support.random_models import random_model
from tests.support.recipes import RECIPES, TOKENS

CLOSE = {"atol": 1e-6, "rtol": 1e-6}

pytestmark = pytest.mark.parametrize("recipe", RECIPES, ids=str)


def _active(base: BaseRun) -> torch.Tensor:
    """Return (layer, position, feature) of all active features."""
    return torch.cat([torch.nn.functional.pad(c[:, 1:], (1, 0), value=i) for i, c in enumerate(base.active)])


@torch.inference_mode()
def _outputs(base: BaseRun, changes: InterventionBatch, mode) -> list[torch.Tensor]:
    """Return what every MLP writes in a whole pass."""
    model, seen = base.model, []
    architecture = model.architecture
    intervention = InterventionPass(base, changes, mode, first_layer=0, first_position=0)
    with intervention.applied():
        handles = []
        for layer in model.model.get_submodule(architecture.layers):
            writer = layer.get_submodule(architecture.mlp_output_norm or architecture.mlp)
            handles.append(hooked_output(writer, lambda _, wrote: seen.append(wrote)))
        for handle in handles:
            handle.__enter__()
        try:
            model.model(input_ids=base.input_tokens.expand(changes.n_rows, -1), use_cache=False)
        finally:
            for handle in handles:
                handle.__exit__(None, None, None)
    return seen


def test_all_features_and_errors_are_the_model(recipe):
    model = random_model(recipe)
    clean, replaced = (intervene(model, TOKENS, [], mode) for mode in (DEFAULT, REPLACEMENT))
    torch.testing.assert_close(replaced.logits, clean.logits, **CLOSE)
    for found, expected in zip(replaced.activations, clean.activations, strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)


def test_no_features_and_no_errors_are_the_biases(recipe):
    """Where the live run leaves the MLPs to write most of what they wrote."""
    model = random_model(recipe)
    base = BaseRun.of(model, [TOKENS])
    changes = InterventionBatch.ablating(base, [_active(base)], [True])
    zero = model.zero_positions
    for layer, wrote in zip(model.transcoders.layers, _outputs(base, changes, REPLACEMENT), strict=True):
        if layer.skip is None:
            assert torch.equal(wrote[0, zero:], layer.decoder_bias.expand_as(wrote[0, zero:]))
    live = _outputs(base, changes, DEFAULT)
    assert (
        max(
            float((wrote[0, zero:] - layer.decoder_bias).norm())
            for layer, wrote in zip(model.transcoders.layers, live, strict=True)
        )
        > 0.1
    )


def test_a_pass_that_leaves_out_what_does_not_change_is_the_whole_pass(recipe):
    model = random_model(recipe)
    base = BaseRun.of(model, [TOKENS])
    top = int(_active(base)[:, 0].max())
    layer, position, feature = _active(base)[_active(base)[:, 0] == top][-1].tolist()
    changed = [
        Intervention(layer, position, feature, 0.0),
        Intervention(layer, position, (feature + 1) % model.transcoders.layers[layer].n_features, 2.0),
        Intervention(layer, len(TOKENS) - 1, feature, factor=3.0),
    ]
    whole = intervene(model, TOKENS, changed, REPLACEMENT).logits[-1]
    cut = intervene_many(base, InterventionBatch.of(base, [changed]), REPLACEMENT).logits[0]
    torch.testing.assert_close(cut, whole, **CLOSE)
    assert not torch.allclose(whole, base.logits[0])


def test_prompts_of_different_length_keep_their_own_features(recipe):
    model = random_model(recipe)
    prompts = [TOKENS, TOKENS[:-2]]
    base = BaseRun.of(model, prompts)
    ablated = [Intervention(0, "all", feature, 0.0) for feature in range(3)]
    together = intervene_many(base, InterventionBatch.of(base, [ablated] * 2, [0, 1]), REPLACEMENT).logits
    for row, prompt in enumerate(prompts):
        alone = intervene(model, prompt, ablated, REPLACEMENT).logits[-1]
        torch.testing.assert_close(together[row], alone, **CLOSE)
