"""The word that stands for a model's own neurons, where transcoders are named.

`neurons` is every neuron of every MLP; `neurons:64` the 64 of a layer and position that write most, the rest
being in the error. A folder of that name is `./neurons`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import TranscoderError

WORD = "neurons"


@dataclass(frozen=True)
class Neurons:
    """A model's own neurons in place of transcoders."""

    strongest: int | None = None
    """Neurons of a layer and position that are features; None for all."""

    @classmethod
    def named(cls, name: str) -> Neurons | None:
        """Read a name of transcoders; None where it is another one.

        Raises:
            TranscoderError: the number behind the word is none.

        """
        word, colon, number = name.partition(":")
        if word != WORD:
            return None
        if not colon:
            return cls()
        if not number.isdecimal() or not int(number):
            raise TranscoderError(
                f"transcoders {name!r}: write `neurons`, or `neurons:64` for the 64 of a layer and position "
                "that write most."
            )
        return cls(int(number))

    @property
    def name(self) -> str:
        """The name that means these."""
        return WORD if self.strongest is None else f"{WORD}:{self.strongest}"
