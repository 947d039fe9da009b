"""What a run is, and how to ask the keeper for one. Standard library only, so that it can be audited alone."""
