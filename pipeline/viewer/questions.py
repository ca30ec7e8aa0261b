"""What a request asks for, read with bounds: a wrong value is refused by its name, with the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pipeline.errors import CircuitSweepError

DIGITS = 20
"""More than any number here has: Python refuses to read thousands of them."""


class RefusedError(CircuitSweepError):
    """A question that has no answer, with the status of the reply and the way out, apart from the reason."""

    def __init__(
        self, message: str, way_out: str = "", status: HTTPStatus = HTTPStatus.BAD_REQUEST, **details: Any
    ) -> None:
        super().__init__(message)
        self.way_out = way_out
        self.status = status
        self.details = details


@dataclass(frozen=True)
class Question:
    """The parameters of a request, and the parts of its path that name things."""

    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of the address, each with all its values."""

    path: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    """Of a POST."""

    @classmethod
    def of(cls, **parameters: str) -> Question:
        """Ask with one value a parameter."""
        return cls({name: [value] for name, value in parameters.items()})

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter as it was given."""
        return self.parameters.get(name, [default])[-1]

    def texts(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return list(self.parameters.get(name, []))

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        given = self.text(name)
        if not given:
            return default
        is_whole = len(given) < DIGITS and given.isascii() and given.removeprefix("-").isdecimal()
        if not is_whole or not least <= int(given) <= most:
            raise RefusedError(f"{name}={given[:40]!r} is no whole number from {least} to {most}.")
        return int(given)

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """Return one of several words."""
        given = self.text(name, default)
        if given not in allowed:
            raise RefusedError(f"{name}={given[:40]!r} is none of {', '.join(allowed)}.")
        return given

    def feature(self) -> tuple[int, int]:
        """Return layer and feature of a path such as `/api/feature/2/350`."""
        layer, feature = self.path["layer"], self.path["feature"]
        parts = (layer, feature)
        if not all(part.isascii() and part.isdecimal() and len(part) < DIGITS for part in parts):
            raise RefusedError(
                f"feature {layer[:20]!r}/{feature[:20]!r} is not spelt layer/index, such as 2/350."
            )
        if int(layer) >= 2**15 or int(feature) >= 2**31:
            raise RefusedError(
                f"there is no feature {layer[:20]}/{feature[:20]}.", status=HTTPStatus.NOT_FOUND
            )
        return int(layer), int(feature)
