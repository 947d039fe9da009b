"""The settings as a file to edit: every one with what it means and its default, commented out."""

import json
import pathlib

from daemon.settings import SETTINGS_FILE, SHARE, Settings

HEAD = f"""\
# {SETTINGS_FILE}: what this deployment changes. Remove the # before a setting to give it another value than the
# default, which is shown. CELLBLOCK_NAME in the environment goes before this file. Restart to have it read again:
#   systemctl restart cellblock-keeper cellblock
"""
Value = str | int | float | pathlib.Path | tuple[object, ...] | None


def template() -> str:
    """TOML in which every line is a comment; without the first # of `#name = value` lines it says the defaults.

    Numbers that follow from this host's cores are this host's. What has no default is not shown, nor a default
    that is a folder of the installed version: the next upgrade removes that.
    """
    lines = [HEAD]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if default is None:
            assignment = f"# {name} has no default"
        elif str(SHARE) in str(default):
            assignment = (
                f"# {name} is by default what comes with the installed version, in another folder after each upgrade"
            )
        else:
            assignment = f"#{name} = {_toml(default)}"
        lines.append(f"# {field.description}\n{assignment}\n")
    return "\n".join(lines)


def _toml(value: Value) -> str:
    """JSON's strings, numbers and lists of them are TOML's too (toml.io, v1.0.0)."""
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"  # type: ignore[arg-type]
    return json.dumps(str(value) if isinstance(value, pathlib.Path) else value)
