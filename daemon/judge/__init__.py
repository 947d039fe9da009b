"""What a submission is and what became of it: steps, limits, reasons. Knows nothing of HTTP or of processes."""
