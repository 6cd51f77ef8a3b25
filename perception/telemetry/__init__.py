"""What the node reports: health over HTTP and to systemd, Prometheus metrics, the summary of a run."""
