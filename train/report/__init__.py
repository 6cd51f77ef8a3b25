"""The report of a run: curves, confusion, best and worst frames, and all figures as JSON. No torch."""

from train.report.charts import best_epoch
from train.report.frames import PredictedFrame
from train.report.write import ReportError, write_report

__all__ = ["PredictedFrame", "ReportError", "best_epoch", "write_report"]
