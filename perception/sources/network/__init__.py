"""Addresses, passwords, certificates, and what HTTP and RTSP servers answer."""
