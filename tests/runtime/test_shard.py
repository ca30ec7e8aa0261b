from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest

from pipeline.errors import PromptError
from pipeline.runtime.shard import Shard, Shards
from pipeline.store.commits.keys import prompt_key, text_key
from pipeline.sweep.prompts.reader import Prompt
from pipeline.sweep.prompts.seen import Ledger
from pipeline.validation.stored_circuits import GraphPrompt

RUN = 7


def tokenize(contents: Sequence[str | list[int]]) -> list[list[int] | PromptError]:
    return [
        PromptError("prompt is empty")
        if not content
        else [1, *map(ord, content)]
        if isinstance(content, str)
        else content
        for content in contents
    ]


def make(contents: list[str | list[int] | None], **settings: object) -> Shards:
    prompts = [Prompt(f"q{i}", content, {"n": i}) for i, content in enumerate(contents)]
    return Shards(prompts, tokenize, RUN, **{"size": 2, **settings})


def test_prompts_are_grouped_in_order() -> None:
    shards = list(make(["a", "b", "c"]))
    assert [[prompt.id for prompt in shard.prompts] for shard in shards] == [["q0", "q1"], ["q2"]]
    assert shards[0].prompts[1].token_ids == (1, ord("b"))
    assert shards[0].prompts[1].prompt_key == prompt_key([1, ord("b")])


def test_the_same_tokens_are_one_prompt_however_they_were_given() -> None:
    shards = make(["a", "b", [1, ord("a")]])
    assert sum(map(len, shards)) == 2
    assert (shards.read, shards.repeated, list(shards.repeated_keys)) == (3, 1, ["q2"])


def test_a_prompt_without_tokens_is_a_failure_beside_its_neighbours() -> None:
    (shard,) = make(["a", ""])
    (failed,) = shard.rejected
    assert (failed.id, failed.stage, failed.error_class) == ("q1", "tokenize", "PromptError")
    assert (failed.prompt_key, failed.run_key, failed.carried) == (text_key("''"), RUN, {"n": 1})


def test_a_row_without_a_value_is_a_failure() -> None:
    (shard,) = make([None])
    assert "null" in shard.rejected[0].message


def test_what_is_committed_is_left_out_and_counted() -> None:
    known = Ledger([prompt_key([1, ord("a")])], [text_key("''")])
    shards = make(["a", "", "b"], known=known)
    assert [[prompt.id for prompt in shard.prompts] for shard in shards] == [["q2"]]
    assert (shards.already_done, shards.already_failed, shards.passed_over) == (1, 1, 2)


def test_a_prompt_that_failed_once_and_was_done_once_is_done() -> None:
    key = prompt_key([1, ord("a")])
    shards = make(["a"], known=Ledger([key], [key]))
    assert list(shards) == []
    assert (shards.already_done, shards.already_failed) == (1, 0)


def test_a_repeat_of_what_is_done_is_a_repeat() -> None:
    shards = make(["a", "a", "b", "a"], known=Ledger([prompt_key([1, ord("a")])]))
    assert [[prompt.id for prompt in shard.prompts] for shard in shards] == [["q2"]]
    assert (shards.already_done, shards.repeated, list(shards.repeated_keys)) == (1, 2, ["q1", "q3"])


def test_shards_are_made_once() -> None:
    shards = make(["a"])
    assert len(list(shards)) == 1
    with pytest.raises(RuntimeError, match="made before"):
        list(shards)


def test_a_sweep_started_again_makes_the_same_shards() -> None:
    texts = list("abcdefg")
    first = list(make(texts))
    done = [prompt.prompt_key for shard in (first[0], first[2]) for prompt in shard.prompts]
    assert [shard.id for shard in make(texts, known=Ledger(done))] == [first[1].id, first[3].id]


def test_halves_cover_a_shard_and_a_prompt_alone_has_a_clean_record() -> None:
    (shard,) = make(["a", "b", "c", ""], size=4)
    first, second = shard.split()
    assert (*first.prompts, *second.prompts) == shard.prompts
    assert (*first.rejected, *second.rejected) == shard.rejected
    assert (len(first.prompts), first.deaths) == (2, 1)
    assert (len(second.prompts), second.deaths) == (1, 0)


def test_a_prompt_is_only_blamed_for_deaths_that_it_was_alone_with() -> None:
    (pair,) = make(["a", "b"])
    assert pair.after_death().deaths == 1
    assert pair.after_death(counts=False) == pair
    (single,) = make(["a"])
    beside = single.after_death()
    assert (beside.deaths, beside.suspect) == (0, True)
    assert beside.after_death().deaths == 1
    left = pair.after_death().after(1)
    assert (len(left.prompts), left.deaths, left.suspect) == (1, 0, True)


def test_a_shard_travels_whole() -> None:
    for shard in (*make(["a", "", "b"], size=3), *make([""])):
        there = pickle.loads(pickle.dumps(shard))
        assert there == shard
        assert there.id == shard.id


def test_prompts_of_another_kind_travel_as_they_are() -> None:
    prompts = tuple(GraphPrompt(key, f"q{key}", None, (key,), {}, files={"edges": "e"}) for key in (1, 2))
    there = pickle.loads(pickle.dumps(Shard(prompts, (), RUN)))
    assert there.prompts == prompts
    assert {type(prompt) for prompt in there.prompts} == {GraphPrompt}
