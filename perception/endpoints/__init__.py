"""What the node tells over HTTP: whether it lives, whether its masks are fresh, and its metrics."""

from perception.endpoints.address import EndpointsError, parse_address
from perception.endpoints.server import Endpoints

__all__ = ["Endpoints", "EndpointsError", "parse_address"]
