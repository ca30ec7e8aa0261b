"""An audit pack: contrasting prompts, what is read off the model, and prompts that must not suffer.

A pack is a YAML file. Each template holds `{x}`; a pair fills it with a word of the first group and with one
of the second, so that the two prompts differ in nothing else. The readout is a logit difference between two
lists of words: the log of the summed exponentials of one less that of the other. Control prompts have an
answer each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from pipeline.configuration import ConfigurationFile, Section
from pipeline.errors import ConfigurationError

PACKS = Path(__file__).parent / "packs"
"""Folder of the packs that ship."""

LEAST_PAIRS = 16
"""Eight pairs a half, all of whose signs flipped give p-values down to 0.008; ten features are tested."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Readout(Section):
    """What is read off the model behind each prompt."""

    plus: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Words whose logits count up, each one token; a leading space where the model's tokens have one."""

    minus: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Words whose logits count down."""


class Control(Section):
    """A prompt that an intervention must leave as it was."""

    prompt: Text
    answer: Text


class Pack(Section):
    """An audit."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    question: Text
    """The question that it asks, for people."""

    limits: Annotated[tuple[Text, ...], Field(min_length=1)]
    """What its answer does not mean."""

    groups: tuple[Text, Text]
    """Names of the two groups."""

    templates: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Prompts with `{x}` where a pair's words go."""

    pairs: Annotated[tuple[tuple[Text, Text], ...], Field(min_length=LEAST_PAIRS)]
    """A word, or a passage, of each group; pairs are the clusters, which count once."""

    readout: Readout
    control: Annotated[tuple[Control, ...], Field(min_length=5)]

    @model_validator(mode="after")
    def _filled(self) -> Pack:
        for template in self.templates:
            if template.count("{x}") != 1:
                raise ValueError(f"template {template!r} must hold {{x}} once")
        if len({*self.pairs}) < len(self.pairs):
            raise ValueError("a pair is there twice")
        if both := {*self.readout.plus} & {*self.readout.minus}:
            raise ValueError(f"{sorted(both)[0]!r} is in both lists of the readout")
        return self


PACK_FILE = ConfigurationFile(Pack, "audit pack")


def shipped_packs() -> list[str]:
    """Return the names of the packs that ship."""
    return sorted(path.stem for path in PACKS.glob("*.yaml"))


def read_pack(name: str) -> Pack:
    """Read a pack: the name of one that ships, or a YAML file.

    Raises:
        ConfigurationError: there is no such pack or file, or it holds something else.

    """
    path = PACKS / f"{name}.yaml" if name in shipped_packs() else Path(name)
    if not path.is_file():
        raise ConfigurationError(
            f"there is no audit pack {name!r}: give a YAML file, or one of {', '.join(shipped_packs())}."
        )
    return PACK_FILE.load(path)
