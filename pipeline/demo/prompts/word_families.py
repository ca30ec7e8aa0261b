"""Prompt families about words only: indirect objects, induction, agreement and sequences.

Each family draws prompts at random from a space too large to list. The split is a rule on what is drawn
(a pair of names, of nouns, the first words), so a held-out prompt can never have been trained on,
however many are drawn and whatever the seed.
"""

from collections.abc import Callable
from random import Random

from pipeline.demo.facts import read_word_lists
from pipeline.demo.prompts.example import Example

_LISTS = read_word_lists()
NAMES, PLACES, OBJECTS = _LISTS["names"], _LISTS["places"], _LISTS["objects"]
NOUNS, PREPOSITIONS, THINGS = _LISTS["nouns"], _LISTS["prepositions"], _LISTS["things"]
VERBS = {"Today": ("is", "are"), "Yesterday": ("was", "were")}
"""Singular and plural verb by the word that opens the prompt."""

SEQUENCES = {
    "days": _LISTS["cyclic_days"] * 2,
    "months": _LISTS["cyclic_months"] * 2,
    "numbers": _LISTS["numbers"],
    "ordinals": _LISTS["ordinals"],
    "greek": _LISTS["greek"],
}
"""Ordered words; days and months twice over, as they run on from their end."""

SKIPPED = "numbers"
"""The sequence that is also counted in steps of two."""


def indirect_object(random: Random) -> Example:
    """Draw "When Mary and John went to the store , John gave a drink to" with the answer Mary."""
    first, second = random.sample(range(len(NAMES)), 2)
    giver, receiver = random.sample([NAMES[first], NAMES[second]], 2)
    place, thing = random.choice(PLACES), random.choice(OBJECTS)
    opening = f"When {NAMES[first]} and {NAMES[second]} went to the {place} ,"
    text = f"{opening} {giver} gave a {thing} to"
    return Example(text, "indirect_object", (receiver,), held_out=(first + second) % 5 == 0)


def repeat(random: Random, length: int) -> list[str]:
    """Draw `length` distinct words and write them twice."""
    return random.sample([*THINGS, *NAMES], length) * 2


def induction(random: Random) -> Example:
    """Draw distinct words and begin to repeat them: "stone wine cloud stone wine" with the answer cloud."""
    length = random.randint(3, 6)
    words = repeat(random, length)
    end = length + random.randint(1, length - 1)
    held_out = (len(words[0]) + len(words[1]) + len(words[2])) % 5 == 0
    return Example(" ".join(words[:end]), "induction", (words[end],), held_out=held_out)


def agreement(random: Random) -> Example:
    """Draw "Today the keys near the cat" with the answer are: the verb agrees with the first noun."""
    first, second = random.sample(range(len(NOUNS)), 2)
    plural, distractor_plural = random.random() < 0.5, random.random() < 0.5
    opening, verbs = random.choice(list(VERBS.items()))
    subject = NOUNS[first] + "s" * plural
    distractor = NOUNS[second] + "s" * distractor_plural
    text = f"{opening} the {subject} {random.choice(PREPOSITIONS)} the {distractor}"
    return Example(text, "agreement", (verbs[plural],), held_out=(first + 2 * second) % 5 == 0)


def sequence(random: Random) -> Example:
    """Draw "Monday Tuesday Wednesday" with the answer Thursday; numbers also in steps of two."""
    name = random.choice(list(SEQUENCES))
    words, step = SEQUENCES[name], 1
    if name == SKIPPED and random.random() < 0.5:
        step = 2
    length = random.randint(3, 5)
    # Starting in the first round only gives every run of words one start, so one side of the split.
    start = random.randrange(min(len(set(words)), len(words) - step * length))
    run = words[start : start + step * length + 1 : step]
    return Example(" ".join(run[:-1]), "sequence", (run[-1],), held_out=(start + 2 * length) % 7 == 0)


WORD_FAMILIES: dict[str, Callable[[Random], Example]] = {
    "indirect_object": indirect_object,
    "induction": induction,
    "agreement": agreement,
    "sequence": sequence,
}
"""Generator of each family."""


def draw(family: str, random: Random, held_out: bool) -> Example:
    """Draw one prompt of the training (or of the held-out) side of a family."""
    while True:
        example = WORD_FAMILIES[family](random)
        if example.held_out == held_out:
            return example


def family_words() -> list[str]:
    """Return every word that these families can use."""
    function_words = ["When", "and", "went", "to", "the", ",", "gave", "a"]
    plurals = [noun + "s" for noun in NOUNS]
    verbs = [word for opening, pair in VERBS.items() for word in (opening, *pair)]
    return [*function_words, *plurals, *verbs, *(word for words in _LISTS.values() for word in words)]
