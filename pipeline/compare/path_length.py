"""Mean length of paths through a pruned graph: the edges between a prompt and its answer.

An edge's share is its |weight| over all |input| of its target, kept or not. Walking backwards from a target
by these shares reaches a node without inputs (a token, an error) over kept edges with probability
P(t) = sum over its edges of share * P(source); times the mean number of steps of such walks it is
S(t) = sum of share * (P(source) + S(source)). A source is always on a lower layer than its target, so one
pass up the layers, over all prompts at once, is exact. A prompt's length is the sum of S over that of P, over
its targets by their influence: the mean over all kept paths, each by its strength.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

NODE = ("layer", "position", "feature")


def path_lengths(
    edges: dict[str, np.ndarray],
) -> tuple[Int[np.ndarray, " prompts"], Float[np.ndarray, " prompts"]]:
    """Return the prompts and their mean path lengths.

    Args:
        edges: columns `prompt`, `weight`, `total_input` (of the target), `influence`, `at_logit` (the target
            is one of the prompt's), and layer, position and feature of source and target.

    """
    if not len(edges["prompt"]):
        return np.empty(0, np.int64), np.empty(0)
    ends = [[edges["prompt"], *(edges[f"{end}_{name}"] for name in NODE)] for end in ("source", "target")]
    stacked = np.concatenate([np.stack(columns, axis=1) for columns in ends])
    nodes, index = np.unique(stacked, axis=0, return_inverse=True)
    source, target = np.split(index.ravel(), 2)
    share = np.abs(edges["weight"].astype(float)) / np.maximum(edges["total_input"], 1e-30)
    reached = np.ones(len(nodes))
    reached[target] = 0.0
    steps = np.zeros(len(nodes))
    layer = edges["target_layer"]
    for level in np.unique(layer):
        here = layer == level
        arriving, walked = reached[source[here]], steps[source[here]]
        reached += np.bincount(target[here], share[here] * arriving, len(nodes))
        steps += np.bincount(target[here], share[here] * (arriving + walked), len(nodes))
    final = edges["at_logit"].astype(bool)
    prompts, prompt = np.unique(edges["prompt"][final], return_inverse=True)
    weight = edges["influence"][final].astype(float)
    total = np.bincount(prompt, weight * reached[target[final]])
    return prompts, np.bincount(prompt, weight * steps[target[final]]) / np.maximum(total, 1e-30)
