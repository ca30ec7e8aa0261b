"""Swap Texas for California inside the model, and read what it says then.

Two circuits that differ in their state alone: features that only the first has are set to 0, and
features that only the second has are held at the values they have there.

    python examples/steer.py
"""

from pipeline import Intervention, ReplacementModel, attribute, generate, prune

DALLAS = "The capital of the state containing Dallas is"
FRESNO = "The capital of the state containing Fresno is"

model = ReplacementModel.from_pretrained("demo", transcoders="demo")


def circuit(prompt: str) -> dict[tuple[int, int, int], float]:
    """Return the kept features of a prompt, as (layer, position, feature), with their activations."""
    pruned = prune(attribute(model, prompt))
    places = zip(pruned.layer.tolist(), pruned.position.tolist(), pruned.feature.tolist(), strict=True)
    rows = zip(places, pruned.kind.tolist(), pruned.activation.tolist(), strict=True)
    return {place: activation for place, kind, activation in rows if kind == 0}


texas, california = circuit(DALLAS), circuit(FRESNO)
ablate = [Intervention(*place, value=0.0) for place in texas if place not in california]
insert = [Intervention(*place, value=value) for place, value in california.items() if place not in texas]

says = generate(model, DALLAS, [[], ablate, ablate + insert], max_new_tokens=1)
for what, answer in zip(("clean", "Texas ablated", "California in its place"), says, strict=True):
    print(f"{what:24} {answer.text.strip()}")
