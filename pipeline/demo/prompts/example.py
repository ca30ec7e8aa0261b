"""One prompt of the built-in model's language, with what is known about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A prompt and the answers that count as right."""

    text: str
    """The prompt, words divided by single spaces, without `<bos>`."""

    family: str
    """The kind of prompt: which rule leads to the answer."""

    answers: tuple[str, ...]
    """Right next words, the one that tables show first; more than one where the prompt is ambiguous."""

    subject: str = ""
    """Subject of the answer: a state, a country, or empty for prompts about words only."""

    held_out: bool = False
    """Never seen in training."""

    @property
    def answer(self) -> str:
        """The first of the right answers."""
        return self.answers[0]

    @property
    def words(self) -> list[str]:
        """The words of the prompt and of its answers."""
        return [*self.text.split(), *self.answers]
