"""SandboxFusion's POST /run_code: docs/dialects-sandboxfusion.md says what differs."""
