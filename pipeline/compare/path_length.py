"""Mean length of paths through a pruned graph: the edges between a prompt and its answer.

An edge's share is its |weight| over the sum of |weight| into its target. Walking backwards from a target by
these shares until a node without inputs (a token, an error, a feature whose inputs were pruned) takes
L(t) = sum over its edges of share * (1 + L(source)) steps on average. A source is always on a lower layer
than its target, so one pass up the layers, over all prompts at once, is exact. A prompt's length is the mean
over its targets, by the influence of the edges into them.
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
        edges: columns `prompt`, `weight`, `influence`, `at_logit` (the target is one of the prompt's), and
            layer,
            position and feature of source and target.

    """
    if not len(edges["prompt"]):
        return np.empty(0, np.int64), np.empty(0)
    ends = [[edges["prompt"], *(edges[f"{end}_{name}"] for name in NODE)] for end in ("source", "target")]
    stacked = np.concatenate([np.stack(columns, axis=1) for columns in ends])
    nodes, index = np.unique(stacked, axis=0, return_inverse=True)
    source, target = np.split(index.ravel(), 2)
    size = np.abs(edges["weight"].astype(float))
    share = size / np.maximum(np.bincount(target, size, len(nodes))[target], 1e-30)
    length = np.zeros(len(nodes))
    layer = edges["target_layer"]
    for level in np.unique(layer):
        here = layer == level
        length += np.bincount(target[here], share[here] * (1 + length[source[here]]), len(nodes))
    final = edges["at_logit"].astype(bool)
    prompts, prompt = np.unique(edges["prompt"][final], return_inverse=True)
    weight = edges["influence"][final].astype(float)
    total = np.bincount(prompt, weight)
    return prompts, np.bincount(prompt, weight * length[target[final]]) / np.maximum(total, 1e-30)
