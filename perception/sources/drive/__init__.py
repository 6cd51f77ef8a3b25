"""Our own renderer of a drive, with exact ground truth: the built-in road."""

from perception.sources.drive.renderer import DriveRenderer
from perception.sources.drive.world import MIXED, SCENES

__all__ = ["MIXED", "SCENES", "DriveRenderer"]
