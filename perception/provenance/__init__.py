"""What an output can be traced to: software, model, settings, and UTC beside the monotonic clock."""
