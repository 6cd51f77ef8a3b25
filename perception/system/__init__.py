"""What programs need from the system: atomic files, cores, time limits, redaction of secrets."""
