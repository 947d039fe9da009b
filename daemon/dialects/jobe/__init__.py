"""Jobe, the server of Moodle's CodeRunner: docs/dialects-jobe.md says what differs."""
