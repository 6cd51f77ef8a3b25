"""The classes of the drivable area: ids, names, and the colours they are drawn in."""

from __future__ import annotations

from typing import Final

DIRECT: Final = 0
ALTERNATIVE: Final = 1
BACKGROUND: Final = 2
DRIVABLE: Final = 3
"""Of a network without lane classes: direct or alternative."""
IGNORE: Final = 255
"""Ground truth only: pixels that count neither for nor against."""

LABELS: Final = ("direct", "alternative", "background")
LABELS_OF_TWO: Final = ("drivable", "background")
IDS: Final = {"direct": DIRECT, "alternative": ALTERNATIVE, "background": BACKGROUND, "drivable": DRIVABLE}

# Blue, orange and green of Okabe and Ito, "Color Universal Design" (2008): distinct with every common form of
# colour blindness, and none is a colour of asphalt or sky.
COLOURS_RGB: Final = {DIRECT: (0, 114, 178), ALTERNATIVE: (230, 159, 0), DRIVABLE: (0, 158, 115)}
