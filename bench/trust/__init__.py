"""What it costs to keep many nodes attested."""
