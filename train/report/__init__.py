"""The folder that training leaves: curves, confusion, best and worst frames, and every number. No torch."""

from train.report.epochs import best_epoch
from train.report.frames import Seen
from train.report.write import ReportError, write_report

__all__ = ["ReportError", "Seen", "best_epoch", "write_report"]
