"""One sweep as a typed, frozen configuration: what a user writes in `SWEEP.yaml`.

Only `model`, `transcoders`, `prompts` and `output` have no default. The classes check themselves when they
are built; `pipeline.sweep.sweep_file` turns what they find into messages. Nothing heavy is imported here:
`circuit-sweep run --help` shows these classes and must not wait for torch.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.attribution import AttributionOptions
from pipeline.configuration import Count, Section, Share
from pipeline.credentials import without_credentials
from pipeline.errors import ConfigurationError
from pipeline.features import parse_feature
from pipeline.runtime import WorkersConfig
from pipeline.sweep.positions import GENERATED, LAST, Positions, checked_positions, most_graphs
from pipeline.sweep.prompts_config import PairsConfig, PromptsConfig


def _is_integer(word: str) -> bool:
    return word.removeprefix("-").isdecimal()


def _listed(feature: Any) -> Any:
    """Return a feature that is named as a string in its listed form, so that both are the same sweep."""
    if not isinstance(feature, str):
        return feature
    try:
        name = parse_feature(feature, position="required")
    except ConfigurationError as error:
        raise ValueError(f"cannot be read: {error}") from error
    return name.layer, name.position, name.feature


class TargetsConfig(Section):
    """Targets that each graph explains (default: the most likely next tokens)."""

    tokens: tuple[int | str, ...] | None = None
    """Token ids, or strings of one token each (mind a leading space); a list alone means this."""

    column: str | None = None
    """Column with each prompt's own: the text of a token, a list of them, or a mapping with `difference` or
    `features`. Digits are text: for ids use `token_ids`."""

    token_ids: str | None = None
    """Column with each prompt's own by token id: an id, or a list of them."""

    difference: tuple[int | str, int | str] | None = None
    """Two tokens: explain the logit of the first minus that of the second."""

    features: tuple[tuple[int, int, int] | str, ...] | None = None
    """Features whose pre-activations to explain, each as `2/350@8` (layer 2, feature 350, position 8; -1 is
    the last) or as [layer, position, feature]."""

    @field_validator("features", mode="before")
    @classmethod
    def _named_features(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        if len(value) % 3 == 0 and all(isinstance(word, str) and _is_integer(word) for word in value):
            # A command line has no lists: its triples arrive as single words.
            return [tuple(map(int, value[first : first + 3])) for first in range(0, len(value), 3)]
        return [_listed(feature) for feature in value]

    @model_validator(mode="after")
    def _one_kind(self) -> TargetsConfig:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"names {' and '.join(given)}: keep the one that says what to explain")
        if () in (self.tokens, self.features):
            raise ValueError("names nothing: give one, or leave targets out for the most likely tokens")
        return self

    @property
    def of_each_prompt(self) -> str | None:
        """Column with each prompt's own targets, if they have some."""
        return self.column if self.token_ids is None else self.token_ids

    @property
    def are_chosen(self) -> bool:
        """True if the user chose the targets."""
        return self != TargetsConfig()


class GenerationConfig(Section):
    """The continuation that is traced with `positions: generated`: the most likely tokens, one by one."""

    max_new_tokens: Count = 32
    """Maximum number of tokens to generate for each prompt."""

    stop: str | int | None = None
    """Token, by its text or id, that ends the text beside the model's own."""


class AttributionConfig(AttributionOptions, Section):
    """Rules by which a prompt becomes a graph."""

    targets: TargetsConfig = TargetsConfig()
    """Targets that each graph explains: a list of tokens, or a mapping with `tokens`, `column`,
    `token_ids`, `difference` or `features` (default: the most likely next tokens)."""

    positions: Positions = LAST
    """Positions of each prompt that get a graph: `last`, `all`, `last-8`, a list ([3, 7, -1]; 0 is the
    opening token), or `generated`: the model goes on, and each token that it says is explained. The rows of
    features are computed once for all of them; ids are then `name@position`."""

    generation: GenerationConfig = GenerationConfig()
    """The text that the model generates, where that is traced."""

    head_loadings: int = Field(default=20, ge=0)
    """Edges of each graph, those over which most influence flows, that are split by the attention head that
    brings them to their target: 0 for none."""

    qk: int = Field(default=0, ge=0)
    """Heads of each graph, with the positions that they look from and at, whose score is split by what it is
    made of: those that bring most influence to the targets of the edges of `head_loadings`. 0 for none."""

    # pydantic's own: what is wrong with a sweep file is collected over all sections, not raised at the first.
    __init__ = Section.__init__

    @model_validator(mode="after")
    def _heads_are_known(self) -> AttributionConfig:
        if self.qk and not self.head_loadings:
            raise ValueError(
                f"qk is {self.qk} and head_loadings 0: scores are split of the heads that carry edges, so "
                "let head_loadings be 1 or more"
            )
        return self

    @field_validator("generation", mode="before")
    @classmethod
    def _no_rule(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("positions", mode="before")
    @classmethod
    def _known_positions(cls, value: Any) -> Positions:
        return checked_positions(value)

    @model_validator(mode="after")
    def _positions_fit(self) -> AttributionConfig:
        if self.positions != LAST and self.position != -1:
            raise ValueError("sets position and positions: keep positions, which may list the one")
        if self.positions != GENERATED and self.generation != GenerationConfig():
            raise ValueError("sets generation, but traces no generated text: that is `positions: generated`")
        return self

    @field_validator("targets", mode="before")
    @classmethod
    def _tokens_alone(cls, value: Any) -> Any:
        if value is None:
            return {}
        return {"tokens": value} if isinstance(value, (list, tuple)) else value


class PruningConfig(Section):
    """Thresholds for the part of a graph that is kept."""

    node_threshold: Share = 0.8
    """Share of the influence on the targets that the kept nodes must carry."""

    edge_threshold: Share = 0.98
    """Share of the normalised influence that the kept edges must carry."""

    small: Count | None = None
    """Budget of features: in place of `node_threshold`, keep those that together make the graph most
    complete, chosen greedily, and no errors; fewer where the next adds less than 2% of what all add."""


class SweepConfig(Section):
    """Everything that one sweep needs to know."""

    model: str
    """Hugging Face model as `name` or `name@revision`, a local folder, `demo` or `english`."""

    transcoders: str
    """Transcoders of that model: hub name or `name@revision`, a local folder, a built-in name, or `neurons`.

    One set of several: `name/layer_{layer}/width_16k/average_l0_*`, where `{layer}` is the layer's number.
    `neurons` are the model's own, `neurons:64` the 64 of a layer and position that write most.
    """

    prompts: PromptsConfig
    """Dataset of prompts: a path or name alone, or a mapping with `source`, `text`, `columns`, ..."""

    output: str
    """Folder or `s3://` URL that receives the tables."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of model and rows; comparisons between runs want float32."""

    zero_positions: Count | None = None
    """First positions of a prompt that carry no features (default: 1, and 4 with Gemma 3's chat template)."""

    lazy_encoder: bool = False
    """Leave encoders in their files: slower, for dictionaries that do not fit the device."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings along."""

    attribution: AttributionConfig = AttributionConfig()
    """Rules by which a prompt becomes a graph."""

    pruning: PruningConfig = PruningConfig()
    """Thresholds for the part of a graph that is kept."""

    pairs: PairsConfig = PairsConfig()
    """Prompts that come in pairs: `{column: pair, role: role}` names the columns that say so."""

    workers: WorkersConfig = WorkersConfig()
    """Worker processes, and their resources."""

    shard_size: Count = 32
    """Prompts in a shard, the unit of work, retry and commit; fewer where a prompt gets many graphs."""

    @field_validator("pairs", mode="before")
    @classmethod
    def _column_alone(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    @field_validator("prompts", mode="before")
    @classmethod
    def _source_alone(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @property
    def dataset(self) -> PromptsConfig:
        """The prompts, with the columns of pairs among those that go along."""
        columns = dict.fromkeys((*self.prompts.columns, *self.pairs.columns))
        return self.prompts.model_copy(update={"columns": tuple(columns)})

    @property
    def prompts_a_shard(self) -> int:
        """Prompts of a shard, so that it holds about `shard_size` graphs."""
        rule = self.attribution
        return max(1, self.shard_size // most_graphs(rule.positions, rule.generation.max_new_tokens))

    @field_validator("model", "transcoders", "output")
    @classmethod
    def _no_credentials(cls, value: str, info: ValidationInfo) -> str:
        return without_credentials(str(info.field_name), value)
