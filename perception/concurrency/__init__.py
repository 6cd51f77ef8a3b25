"""Threads that hand items on: queues that count, heartbeats, shared cores, hangs, restarts. No frames."""
