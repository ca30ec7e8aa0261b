from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.errors import PromptError
from pipeline.model.tokenization.tokens import TracedTokens
from pipeline.runtime.shards.grouping import Shards
from pipeline.runtime.shards.seen_keys import SeenKeys
from pipeline.runtime.shards.shard import Item
from pipeline.store.commits.keys import prompt_key, text_key
from pipeline.sweep.prompts.items import PromptItems
from pipeline.sweep.prompts.reader import Prompt

RUN = 7


def tokenize(contents: Sequence[str | list[int]]) -> list[TracedTokens | PromptError]:
    return [
        PromptError("prompt is empty")
        if not content
        else TracedTokens([1, *map(ord, content)] if isinstance(content, str) else content)
        for content in contents
    ]


def make(contents: list[str | list[int] | None], **settings: object) -> Shards:
    prompts = [Prompt(f"q{i}", content, {"n": i}) for i, content in enumerate(contents)]
    return Shards(PromptItems(prompts, tokenize), RUN, **{"size": 2, **settings})


def test_prompts_are_grouped_in_order() -> None:
    shards = list(make(["a", "b", "c"]))
    assert [[prompt.id for prompt in shard.items] for shard in shards] == [["q0", "q1"], ["q2"]]
    assert shards[0].items[1].token_ids == (1, ord("b"))
    assert shards[0].items[1].key == prompt_key([1, ord("b")])


def test_the_same_tokens_are_one_prompt_however_they_were_given() -> None:
    shards = make(["a", "b", [1, ord("a")]])
    assert sum(map(len, shards)) == 2
    assert (shards.counts.read, shards.counts.repeated, list(shards.repeated_keys)) == (3, 1, ["q2"])


def test_a_prompt_without_tokens_is_a_failure_beside_its_neighbours() -> None:
    (shard,) = make(["a", ""])
    (failed,) = shard.rejected
    assert (failed.id, failed.stage, failed.error_class) == ("q1", "tokenize", "PromptError")
    assert (failed.prompt_key, failed.run_key, failed.extra_columns) == (text_key("''"), RUN, {"n": 1})


def test_a_row_without_a_value_is_a_failure() -> None:
    (shard,) = make([None])
    assert "null" in shard.rejected[0].message


def test_what_is_committed_is_left_out_and_counted() -> None:
    seen = SeenKeys([prompt_key([1, ord("a")])], [text_key("''")])
    shards = make(["a", "", "b"], seen=seen)
    assert [[prompt.id for prompt in shard.items] for shard in shards] == [["q2"]]
    assert (shards.counts.already_done, shards.counts.already_failed, shards.counts.passed_over) == (1, 1, 2)


def test_a_prompt_that_failed_once_and_was_done_once_is_done() -> None:
    key = prompt_key([1, ord("a")])
    shards = make(["a"], seen=SeenKeys([key], [key]))
    assert list(shards) == []
    assert (shards.counts.already_done, shards.counts.already_failed) == (1, 0)


def test_a_repeat_of_what_is_done_is_a_repeat() -> None:
    shards = make(["a", "a", "b", "a"], seen=SeenKeys([prompt_key([1, ord("a")])]))
    assert [[prompt.id for prompt in shard.items] for shard in shards] == [["q2"]]
    assert (shards.counts.already_done, shards.counts.repeated, list(shards.repeated_keys)) == (
        1,
        2,
        ["q1", "q3"],
    )


def test_different_prompts_with_one_id_are_counted_and_named() -> None:
    ids = ["a", "b", "a", "c", "a", "b"]
    prompts = [Prompt(name, f"text {i}", {}) for i, name in enumerate(ids)]
    prompts.append(Prompt("c", "text 3", {}))  # the same prompt once more: one graph, so no shared id
    shards = Shards(PromptItems(prompts, tokenize), RUN, 2)
    assert sum(map(len, shards)) == 6
    assert shards.counts.same_id == 3
    assert shards.shared_ids == {"a": 3, "b": 2}


def test_of_many_shared_ids_the_first_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.shards.grouping.NAMED", 2)
    prompts = [Prompt(str(i // 2), f"text {i}", {}) for i in range(10)]
    shards = Shards(PromptItems(prompts, tokenize), RUN, 4)
    assert sum(map(len, shards)) == 10
    assert (shards.counts.same_id, shards.shared_ids) == (5, {"0": 2, "1": 2})


def test_shards_are_made_once() -> None:
    shards = make(["a"])
    assert len(list(shards)) == 1
    with pytest.raises(RuntimeError, match="made before"):
        list(shards)


def test_a_sweep_started_again_makes_the_same_shards() -> None:
    texts = list("abcdefg")
    first = list(make(texts))
    done = [prompt.key for shard in (first[0], first[2]) for prompt in shard.items]
    assert [shard.id for shard in make(texts, seen=SeenKeys(done))] == [first[1].id, first[3].id]


def test_items_of_different_groups_share_no_shard() -> None:
    items = [Item(key=key, id=str(key), group=group) for key, group in enumerate("aaabbc")]
    shards = Shards(items, RUN, size=2)
    assert [[item.key for item in shard.items] for shard in shards] == [[0, 1], [2], [3, 4], [5]]
    assert shards.counts.read == 6


def test_only_what_is_still_to_do_is_completed() -> None:
    items = [Item(key=key, id=str(key)) for key in range(5)]
    completed: list[int] = []

    def complete(left: Sequence[Item]) -> Sequence[Item]:
        completed.extend(item.key for item in left)
        return left

    list(Shards(items, RUN, size=2, seen=SeenKeys([1, 2, 3]), complete=complete))
    assert completed == [0, 4]


def test_with_a_position_the_key_is_over_the_tokens_up_to_it() -> None:
    """What follows is never traced: prompts that differ only there are one."""
    prompts = [Prompt(f"q{i}", text, {}) for i, text in enumerate(["abc", "abd", "xbc", "a"])]
    shards = Shards(PromptItems(prompts, tokenize, positions=(2,)), RUN, 9)
    (shard,) = shards
    assert [item.id for item in shard.items] == ["q0", "q2", "q3"]
    assert shard.items[0].key == prompt_key([1, ord("a"), ord("b")])
    assert list(shards.repeated_keys) == ["q1"]
    (last,) = Shards(PromptItems(prompts[:1], tokenize, positions=(-2,)), RUN, 9)
    assert last.items[0].key == shard.items[0].key
