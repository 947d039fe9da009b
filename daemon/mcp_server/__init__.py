"""An MCP server before a cellblock server: a client of its HTTP API, so that nothing runs past its admission."""
