"""The pipeline and what it is made of: every thread of the node lives here."""

from perception.concurrency.stage_group import RunError
from perception.pipeline.policy import RunPolicy
from perception.pipeline.runner import Runner

__all__ = ["RunError", "RunPolicy", "Runner"]
