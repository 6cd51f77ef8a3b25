"""The pipeline and what it is made of: every thread of the node lives here."""

from perception.pipeline.pipeline import DRAIN_LIMIT_S, Pipeline, PipelineError
from perception.pipeline.supervision import Supervision

__all__ = ["DRAIN_LIMIT_S", "Pipeline", "PipelineError", "Supervision"]
