"""A dictionary's file: what is wrong is named, with the way out."""

from __future__ import annotations

import pytest

from pipeline.errors import ConfigurationError
from pipeline.training import DICTIONARY_FILE

GOOD = {"model": "m", "features": 64, "k": 4, "text": "t.txt", "tokens": 100_000, "output": "o"}


def test_text_may_be_a_plain_value():
    found = DICTIONARY_FILE.check(GOOD, "d.yaml")
    assert (found.text.source, found.kind, found.batch_size, found.n_steps) == ("t.txt", "skip", 4096, 24)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": 65}, "k 65, but only 64 features: lower k"),
        ({"cross_layer": 2}, "cross_layer, but kind is skip"),
        ({"kind": "clt", "activation": "topk"}, "take batchtopk"),
        ({"kind": "clt", "layers": 1}, "writes? to all layers"),
        ({"kind": "sae", "hook": "ln2.hook_normalized"}, "kind sae reads at hook_mlp_out"),
        ({"tokens": 100}, "lower batch"),
        ({"text": {"source": "t", "held_out": 0}}, "text.held_out is 0.0, but must lie between 0 and 1"),
        ({"featurs": 3}, "Did you mean features?"),
        ({"kind": "tsae"}, "kind is 'tsae'"),
        ({"text": "s3://user:secret@host/t.txt"}, "must not hold credentials"),
    ],
)
def test_what_is_wrong_is_named(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        DICTIONARY_FILE.check(GOOD | changes, "d.yaml")
