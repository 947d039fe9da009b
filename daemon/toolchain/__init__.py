"""Toolchains as data: the schema of toolchains/*.toml, the registry that loads them, the plan they become."""
