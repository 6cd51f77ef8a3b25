"""The node over HTTP: the live page, its pictures, health and metrics."""
