"""Fixed-point types: integers times 2**-fractional, ``fixed<width,integer,rounding,saturation>``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_BITS = 32  # 32 x 32 bit products and their sums stay exact in the float64 arithmetic of the checks

_TEXT = re.compile(
    r"(?:ap_)?(?P<u>u?)fixed<\s*(?P<width>\d+)\s*,\s*(?P<integer>-?\d+)\s*"
    r"(?:,\s*(?:AP_)?(?P<rounding>RND_CONV|RND|TRN)\s*)?(?:,\s*(?:AP_)?(?P<saturation>SAT|WRAP)\s*)?>"
)


@dataclass(frozen=True)
class FixedType:
    """One ``ap_fixed`` type of the vendor tools.

    Parameters
    ----------
    width : int
        Bits in all.
    integer : int
        Bits left of the binary point, the sign included if there is one. May be negative or exceed `width`.
    signed : bool
    rounding : {"RND", "RND_CONV", "TRN"}
        Half up, half to even, towards minus infinity.
    saturation : {"SAT", "WRAP"}
        What happens to values that do not fit: held at the limit, or the upper bits dropped.
    """

    width: int
    integer: int
    signed: bool = True
    rounding: str = "RND"
    saturation: str = "SAT"

    def __str__(self) -> str:
        return f"{self.bare[:-1]},{self.rounding},{self.saturation}>"

    @property
    def bare(self) -> str:
        """The type without its modes, for constants that are on its grid already."""
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.integer}>"

    @property
    def fractional(self) -> int:
        return self.width - self.integer

    @property
    def step(self) -> float:
        return 2.0**-self.fractional

    @property
    def low(self) -> float:
        return -(2.0 ** (self.integer - 1)) if self.signed else 0.0

    @property
    def high(self) -> float:
        return 2.0 ** (self.integer - self.signed) - self.step

    def cast(self, x: ArrayLike) -> NDArray[np.float64]:
        """Values of `x` as this type holds them, float64; exact while the type has at most 53 bits."""
        scaled = np.asarray(x, np.float64) * 2.0**self.fractional
        if self.rounding == "RND":
            scaled = np.floor(scaled + 0.5)
        elif self.rounding == "RND_CONV":
            scaled = np.rint(scaled)
        else:
            scaled = np.floor(scaled)
        low, high = self.low / self.step, self.high / self.step
        if self.saturation == "SAT":
            scaled = np.clip(scaled, low, high)
        else:
            scaled = (scaled - low) % 2.0**self.width + low
        return np.asarray(scaled * self.step)


def integer_bits(largest: float, margin: float = 1.0) -> int:
    """Smallest I with `largest` * `margin` < 2**I, the sign not counted; 0 if `largest` is 0."""
    return math.frexp(largest * margin)[1]


def parse_precision(text: str) -> FixedType | int:
    """Read ``"auto:16"`` as the int 16, ``"fixed<16,6>"`` as a `FixedType` (RND, SAT unless named).

    Raises
    ------
    TypeError, ValueError
        If it is neither; the message shows what is understood.
    """
    wanted = f'"auto:<bits>" (2 to {MAX_BITS} bits), "fixed<width,integer>" or "fixed<width,integer,RND,SAT>"'
    if not isinstance(text, str):
        raise TypeError(f"precision must be a string, {wanted}; got {text!r}")
    compact = text.strip()
    if match := re.fullmatch(r"auto:(\d+)", compact):
        bits = int(match[1])
        if 2 <= bits <= MAX_BITS:
            return bits
    elif (match := _TEXT.fullmatch(compact)) and not match["u"]:
        modes = match["rounding"] or "RND", match["saturation"] or "SAT"
        kind = FixedType(int(match["width"]), int(match["integer"]), True, *modes)
        if 2 <= kind.width <= MAX_BITS:
            return kind
    raise ValueError(f"precision must be {wanted}, signed because weights are; got {text!r}")
