"""One set of transcoders among several that lie side by side in a folder or repository.

A reference may hold a pattern: `{layer}` stands for the number of a layer and `*` for anything within one
name, as in `org/repo/transcoder_all/layer_{layer}_width_16k_l0_big_affine`. It names one file or folder for
every layer. The list of files settles what it names, before anything is downloaded; and where a reference
without a pattern means several sets, the patterns that would do are listed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pipeline.errors import TranscoderError
from pipeline.hub import LAYER
from pipeline.transcoders.hook_points import NO_AUTOENCODER

LAYER_FILES = (
    *("params.npz", "params.safetensors", "params_layer_*.safetensors"),
    *("sae.safetensors", "sae_weights.safetensors"),
)
"""Names of files that hold one layer, so that a layer has one of them."""

_AUTOENCODERS = re.compile(
    r"gemma-scope-\d+b-(?:pt|it)-(?:res|mlp|att)|gemma-scope-2-[^/]+/(?:.*/)?(?:resid_post|attn_out|mlp_out)"
)
"""Gemma Scope's autoencoders, by repository and folder: their tensors are named as the transcoders' are."""

_SITES = re.compile(r"^(?:resid_post|attn_out|mlp_out)(?:_all)?/")
"""Folders of autoencoders inside a repository of Gemma Scope 2."""

_UNWANTED = "*examples.safetensors"

_NUMBERED = re.compile(r"(?:(?<=^)|(?<=[._/\-]))(layers?|blocks?|h)([._/\-]?)(\d+)(?=[._/\-]|$)")

_SHOWN = 12
"""Most patterns that a message lists."""


def layer_of(path: str) -> int | None:
    """Return the layer that a path or a hook's name says, the last one where it says several, or None.

    `layer_3/width_16k/params.npz`, `params_layer_3.safetensors`, `layers.3.mlp/sae.safetensors` and
    `blocks.3.hook_mlp_out/sae_weights.safetensors` are all layer 3.
    """
    found = _NUMBERED.findall(path)
    return int(found[-1][2]) if found else None


def chosen_files(paths: Iterable[str], pattern: str, where: str) -> list[str]:
    """Return the file of each layer, from the first, that a pattern chooses.

    Args:
        paths: of all files, as the pattern sees them.
        pattern: with `{layer}` or `*`; a file, or a folder that holds one.
        where: what the paths lie in, for messages.

    Raises:
        TranscoderError: it fits no file, several of one layer, or not every layer up to the last.

    """
    weights = [path for path in paths if _is_weights(path)]
    expression = _expression(pattern)
    found: dict[int, list[str]] = defaultdict(list)
    for path in weights:
        if (match := expression.fullmatch(path)) is None:
            continue
        layer = int(match["layer"]) if LAYER in pattern else layer_of(path)
        if layer is None:
            raise TranscoderError(
                f"{pattern!r} fits {path}, but nothing there says of which layer it is: write {LAYER} where "
                "the number of the layer stands."
            )
        found[layer].append(path)
    if not found:
        raise TranscoderError(f"nothing in {where} fits {pattern!r}. {_offer(weights)}")
    if several := {layer: files for layer, files in found.items() if len(files) > 1}:
        layer, files = min(several.items())
        fitting = [path for files in found.values() for path in files]
        raise TranscoderError(
            f"{pattern!r} fits {len(files)} files of layer {layer} in {where}: {', '.join(files[:_SHOWN])}. "
            f"{_offer(fitting)}"
        )
    if missing := sorted(set(range(max(found) + 1)) - set(found)):
        raise TranscoderError(
            f"{pattern!r} fits {len(found)} layers up to {max(found)} in {where}, but not "
            f"{', '.join(map(str, missing))}: every layer of the model needs one."
        )
    return [found[layer][0] for layer in sorted(found)]


def refuse_autoencoders(name: str) -> None:
    """Refuse a name, or a file's path, that is known to be of autoencoders, before it is fetched.

    Raises:
        TranscoderError: with the reason.

    """
    if _AUTOENCODERS.search(name):
        raise TranscoderError(f"{name} holds autoencoders; {NO_AUTOENCODER}.")


def check_one_set(paths: Iterable[str], where: str) -> None:
    """Refuse files among which a layer has two.

    Raises:
        TranscoderError: with the patterns that choose one a layer.

    """
    first: dict[int, str] = {}
    weights = [path for path in paths if _is_layer_file(path) and not _SITES.match(path)]
    for path in sorted(weights):
        layer = layer_of(path)
        if layer is not None and first.setdefault(layer, path) != path:
            raise TranscoderError(
                f"{where} holds two files for layer {layer}, {first[layer]} and {path}. {_offer(weights)}"
            )


def choices(paths: Iterable[str]) -> dict[str, bool]:
    """Return the patterns that files can be chosen by, and for each whether it fits one file a layer.

    Folders that say the layer's number and are alike for all layers are one pattern. Where the last folder's
    name has another number for each layer (`average_l0_76`), that number is a `*`.
    """
    exact, loose = defaultdict(set), defaultdict(list)
    for path in paths:
        layer = layer_of(path)
        if layer is None:
            continue
        template = _template(path)
        exact[template].add(layer)
        head, _, last = template.rpartition("/")
        # The layer's own number is `{layer}` by now; a width (16k) stays, since another width is another set.
        last = re.sub(r"\d+(?![a-z])", "*", last)
        loose[f"{head}/{last}" if head else last].append(layer)
    layers = set().union(*exact.values())
    complete = {template: True for template in sorted(exact) if exact[template] == layers}
    if complete:
        return complete
    return {
        template: len(found) == len(set(found))
        for template, found in sorted(loose.items())
        if set(found) == layers
    }


def _offer(paths: Iterable[str]) -> str:
    found = choices(paths)
    single = [template for template, is_single in found.items() if is_single]
    if single:
        more = f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else ""
        return f"Choose one by its pattern: {', '.join(single[:_SHOWN])}{more}."
    listed = "write a config.yaml that lists one file a layer under `transcoders`"
    if found:
        return f"There are {', '.join(list(found)[:_SHOWN])}, each with several files of a layer: {listed}."
    return f"Name the folder of one set, or {listed}."


def _template(path: str) -> str:
    """Return the path of a file's folder (of the file, if its name says the layer) with `{layer}` in it."""
    posix = PurePosixPath(path)
    named = path if layer_of(posix.name) is not None else str(posix.parent)
    return _NUMBERED.sub(lambda found: f"{found[1]}{found[2]}{LAYER}", named)


def _is_weights(path: str) -> bool:
    return path.endswith((".safetensors", ".npz")) and not fnmatchcase(path, _UNWANTED)


def _is_layer_file(path: str) -> bool:
    name = PurePosixPath(path).name
    return any(fnmatchcase(name, pattern) for pattern in LAYER_FILES)


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{layer\}|\*)", pattern.strip("/"))
    found, has_layer = "", False
    for part in parts:
        if part == LAYER:
            found += "(?P=layer)" if has_layer else r"(?P<layer>\d+)"
            has_layer = True
        else:
            found += "[^/]*" if part == "*" else re.escape(part)
    return re.compile(f"{found}(?:/.*)?")
