"""Sources in reader processes of their own, which are killed and replaced when they hang or crash."""
