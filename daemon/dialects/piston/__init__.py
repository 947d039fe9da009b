"""API v2 of Piston (https://github.com/engineer-man/piston, 3.1 and 3.2): docs/dialects-piston.md says what differs."""
