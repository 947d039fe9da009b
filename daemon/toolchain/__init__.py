"""Toolchains as data: the schema of toolchains/*.toml, the registry that loads them, their plan and their identity."""
