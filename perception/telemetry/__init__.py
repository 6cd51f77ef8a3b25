"""What the node reports: health over HTTP and to systemd, Prometheus metrics, and the summary of a run."""
