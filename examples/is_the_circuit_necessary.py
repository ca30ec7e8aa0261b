"""Test a circuit in the model itself: ablate it, and as many features that are not in it.

`circuit-sweep validate` does this for every graph of a sweep, with random sets matched by layer, position and
activation, and stores the verdicts in the tables `faithfulness` and `validations`.

    python examples/is_the_circuit_necessary.py
"""

import random

from pipeline import Intervention, ReplacementModel, attribute, intervene, prune

PROMPT = "The capital of the state containing Dallas is"

model = ReplacementModel.from_pretrained("demo", transcoders="demo")
graph = attribute(model, PROMPT)
pruned = prune(graph)
target = graph.targets[0]

is_feature = pruned.kind == 0
columns = (pruned.layer, pruned.position, pruned.feature)
kept = list(zip(*(column[is_feature].tolist() for column in columns), strict=True))
others = sorted(set(map(tuple, graph.active_features.tolist())) - set(kept))


def log_probability(ablated: list[tuple[int, int, int]]) -> float:
    """Return the target's log-probability with these features set to 0."""
    changes = [Intervention(*place, value=0.0) for place in ablated]
    return float(intervene(model, PROMPT, changes).logits[-1].log_softmax(0)[target.token_id])


print(f"log-probability of {target.label!r} in nats")
print(f"  clean                                 {log_probability([]):8.3f}")
print(f"  the circuit's {len(kept)} features ablated       {log_probability(kept):8.3f}")
for seed in range(3):
    drawn = random.Random(seed).sample(others, len(kept))
    print(f"  {len(kept)} of the other {len(others)} active features    {log_probability(drawn):8.3f}")
