"""Our own renderer of a drive, with exact ground truth: the built-in road."""

from perception.synthetic.renderer import DriveRenderer
from perception.synthetic.world import MIXED, SCENES

__all__ = ["MIXED", "SCENES", "DriveRenderer"]
