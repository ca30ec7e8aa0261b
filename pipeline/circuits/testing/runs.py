"""The runs of one prompt: what each change costs, as entries of `circuit_effects`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from pipeline.circuits.testing.sets import FEW, Node, PromptCircuit
from pipeline.intervention import DEFAULT, OPEN, REPLACEMENT, BaseRun
from pipeline.model import ReplacementModel, TracedTokens
from pipeline.validation import Changes, Circuit, OutputMetrics, run_changes, write_norms

MODES = {"default": DEFAULT, "open": OPEN, "replacement": REPLACEMENT}

DOSES = (0.0, 0.5, 1.5, 2.0)
"""Factors of the circuit's activations; 1 is the clean run."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class _Planned:
    """One run of a mode: what it is an entry of, and the features that are set to 0 or multiplied."""

    entry: Entry
    changed: Int[np.ndarray, " m"]
    factor: float = 0.0


def run_prompt(
    model: ReplacementModel,
    graph: Circuit,
    roles: tuple[int, ...],
    circuits: Mapping[str, Mapping[Node, int]],
    own: Sequence[str],
    others: Sequence[str],
    draws: int,
) -> tuple[float, list[Entry]]:
    """Return the clean run's value and the entries of a prompt.

    Args:
        model: the sweep's model.
        graph: the prompt's graph.
        roles: of its positions.
        circuits: supernode of each node, by circuit.
        own: circuits of the prompt's group that it is tested for.
        others: circuits of other groups.
        draws: matched sets.

    """
    base = BaseRun.of(model, [TracedTokens(graph.token_ids)])
    metrics = OutputMetrics.of(base, graph.targets, graph.partner)
    sizes = np.maximum(write_norms(model, graph.active, graph.active_activations), 1e-30)
    entries: list[Entry] = []
    for mode in MODES:
        planned: list[_Planned] = []
        for name in own:
            circuit = PromptCircuit(graph, roles, circuits[name], sizes)
            planned += _own_runs(name, circuit, mode, draws)
        if mode == "default":
            for name in others:
                circuit = PromptCircuit(graph, roles, circuits[name], sizes)
                entry = _entry(name, "specificity", "circuit", len(circuit.own))
                planned.append(_Planned(entry, circuit.own))
        if planned:
            entries += _run(base, metrics, graph, mode, planned)
    return float(metrics.observe_clean()[3]), entries


def _own_runs(name: str, circuit: PromptCircuit, mode: str, draws: int) -> list[_Planned]:
    """Plan what a circuit is tested by in one mode; all competitors where patterns are held."""
    counts = (
        {"matched": draws, "active": FEW, "largest": 1, "rewired": FEW}
        if mode == "default"
        else {"matched": FEW}
    )
    sets = {"circuit": [circuit.own], **{kind: circuit.drawn(kind, count) for kind, count in counts.items()}}
    planned = []
    for kind, listed in sets.items():
        for draw, chosen in enumerate(listed):
            entry = _entry(name, "necessity", kind, len(chosen), draw=draw)
            planned.append(_Planned(entry, chosen))
            entry = _entry(name, "sufficiency", kind, len(chosen), draw=draw)
            planned.append(_Planned(entry, circuit.all_but(chosen)))
    if mode == "open":
        return planned
    for supernode in sorted(set(circuit.supernodes.values())):
        kept = circuit.without(supernode)
        entry = _entry(name, "minimality", "circuit", len(kept), supernode=supernode)
        planned.append(_Planned(entry, circuit.all_but(kept)))
    if mode == "default":
        planned += [
            _Planned(_entry(name, "dose", "circuit", len(circuit.own), dose=dose), circuit.own, dose)
            for dose in DOSES
        ]
    return planned


def _entry(
    circuit: str,
    test: str,
    kind: str,
    features: int,
    draw: int = 0,
    supernode: int | None = None,
    dose: float | None = None,
) -> Entry:
    named = {"circuit": circuit, "test": test, "set": kind, "draw": draw}
    return named | {"supernode": supernode, "dose": dose, "features": features}


def _run(
    base: BaseRun, metrics: OutputMetrics, graph: Circuit, mode: str, planned: list[_Planned]
) -> list[Entry]:
    """Run one mode: all active features at 0, then what is planned."""
    everything = np.arange(len(graph.active))
    sets = [(everything, 0.0), *((one.changed, one.factor) for one in planned)]
    changes = [
        Changes(graph.active[chosen], np.full(len(chosen), factor), np.ones(len(chosen), bool))
        for chosen, factor in sets
    ]
    values, predictions = run_changes(base, metrics, changes, MODES[mode])
    clean, prediction = float(metrics.observe_clean()[3]), int(metrics.clean.argmax())
    ablated, rest = float(values[0]), values[1:].tolist()
    kept_by = {
        one.entry["circuit"]: value
        for one, value in zip(planned, rest, strict=True)
        if (one.entry["test"], one.entry["set"]) == ("sufficiency", "circuit")
    }
    found = []
    for one, value, token in zip(planned, rest, predictions[1:].tolist(), strict=True):
        match one.entry["test"]:
            case "sufficiency":
                effect = value - ablated
            case "minimality":
                effect = kept_by[one.entry["circuit"]] - value
            case _:
                effect = clean - value
        measured = {"mode": mode, "value": effect, "stake": clean - ablated, "flipped": token != prediction}
        found.append(one.entry | measured)
    return found
