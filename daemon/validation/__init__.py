"""Input validation: advice to honest users about what can only fail in a jail. It protects nothing, the jail does."""
