"""The three classes of the drivable area: ids, names, and the colours they are drawn in."""

from __future__ import annotations

from typing import Final

DIRECT: Final = 0
ALTERNATIVE: Final = 1
BACKGROUND: Final = 2
IGNORE: Final = 255
"""Ground truth only: pixels that count neither for nor against."""

LABELS: Final = ("direct", "alternative", "background")

# Blue and orange of Okabe and Ito, "Color Universal Design" (2008): told apart with every common
# form of colour blindness, and neither is a colour of asphalt, grass or sky.
COLOURS_RGB: Final = {DIRECT: (0, 114, 178), ALTERNATIVE: (230, 159, 0)}
