"""The figures that the document of the API names: what this deployment's settings and toolchains allow."""

import string
from collections.abc import Mapping
from typing import Any

from daemon.settings import MB, Settings
from daemon.toolchain.plan import run_limits
from daemon.toolchain.registry import Registry

Figures = Mapping[str, Any]


def figures_of(settings: Settings, toolchains: Registry) -> Figures:
    """By name. Times are in seconds; a maximum is that of the language that allows most."""
    run = settings.run_limits()
    most = [run_limits(toolchain, run)[1] for toolchain in toolchains]
    names = (
        "timeout_s", "memory_mb", "processes", "code_bytes_max", "stdin_bytes_max", "files_bytes_max", "body_bytes_max",
        "output_bytes", "problems_max", "package_mb_max", "upload_s", "package_timing_s", "grade_memory_mb_max",
        "queue", "grade_timeout_s_max",
    )  # fmt: skip
    found = {
        **{name: getattr(settings, name) for name in names},
        "timeout_s_max": max(limits.wall_ns for limits in most) / 1e9,
        "memory_mb_max": max(limits.memory_bytes for limits in most) // MB,
        "grade_output_kb_max": settings.grade_output_mb_max << 10,
        "base64_max": 4 * -(-settings.output_bytes // 3),
        "languages": sorted(name for toolchain in toolchains for name in toolchain.names),
    }
    return {name: int(one) if isinstance(one, float) and one.is_integer() else one for name, one in found.items()}


def fill(value: Any, figures: Figures) -> Any:
    """`value`, a JSON value, with each `$name` replaced by its figure, as text in text.

    A `pattern`, whose dollar is another, stays as it is. Raises KeyError for a figure that there is not.
    """
    match value:
        case dict():
            return {key: item if key == "pattern" else fill(item, figures) for key, item in value.items()}
        case list():
            return [fill(item, figures) for item in value]
        case str() if value.startswith("$") and value[1:] in figures:
            return figures[value[1:]]
        case str():
            return string.Template(value).substitute(figures) if "$" in value else value
        case _:
            return value
