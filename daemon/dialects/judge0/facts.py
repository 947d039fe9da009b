"""What the server says of itself in Judge0's words."""

import importlib.metadata
import platform
from collections.abc import Sequence

import psutil

from daemon.settings import Settings

from .callbacks import TIMEOUT_S
from .database import Capacity
from .languages import Flavour
from .wanted import Bounds

BATCH_MAX = 20  # Judge0's default
KB = 1 << 10


def about(flavour: Flavour) -> dict[str, str]:
    """The version is Judge0's, since clients choose by it what they ask for."""
    return {
        "version": flavour.version,
        "homepage": "/docs",
        "source_code": f"cellblock {importlib.metadata.version('cellblock')}",
        "maintainer": "whoever runs this server",
    }


def licence() -> str:
    """The text of cellblock's own."""
    found = [path for path in importlib.metadata.files("cellblock") or () if path.name == "LICENSE"]
    return found[0].read_text() if found else "MIT"


def system() -> dict[str, str]:
    """A few of the lines that lscpu and free print."""
    memory = psutil.virtual_memory()
    return {
        "Architecture": platform.machine(),
        "CPU(s)": str(psutil.cpu_count() or 1),
        "Mem": f"{memory.total / (1 << 30):.1f}Gi",
        "Swap": f"{psutil.swap_memory().total / (1 << 30):.1f}Gi",
    }


def config(
    settings: Settings, bounds: Bounds, capacity: Capacity, has_callbacks: bool, with_options: Sequence[str]
) -> dict[str, object]:
    """GET /config_info of version 1.13.1, with this deployment's figures. `with_options`: names of languages whose
    compilers take options."""
    return {
        "maintenance_mode": False,
        "enable_wait_result": True,
        "enable_compiler_options": bool(with_options),
        "allowed_languages_for_compile_options": list(with_options),
        "enable_command_line_arguments": True,
        "enable_submission_delete": True,
        "enable_callbacks": has_callbacks,
        "callbacks_max_tries": capacity.callback_tries,
        "callbacks_timeout": TIMEOUT_S,
        "enable_additional_files": True,
        "max_queue_size": capacity.queue_max,
        "cpu_time_limit": bounds.cpu_s[0],
        "max_cpu_time_limit": bounds.cpu_s[1],
        "cpu_extra_time": bounds.extra_s[0],
        "max_cpu_extra_time": bounds.extra_s[1],
        "wall_time_limit": bounds.wall_s[0],
        "max_wall_time_limit": bounds.wall_s[1],
        "memory_limit": bounds.memory_kb[0],
        "max_memory_limit": bounds.memory_kb[1],
        "stack_limit": bounds.stack_kb[0],
        "max_stack_limit": bounds.stack_kb[1],
        "max_processes_and_or_threads": bounds.processes[0],
        "max_max_processes_and_or_threads": bounds.processes[1],
        "enable_per_process_and_thread_time_limit": False,
        "allow_enable_per_process_and_thread_time_limit": False,
        "enable_per_process_and_thread_memory_limit": False,
        "allow_enable_per_process_and_thread_memory_limit": False,
        "max_file_size": bounds.file_kb[0],
        "max_max_file_size": bounds.file_kb[1],
        "number_of_runs": bounds.runs[0],
        "max_number_of_runs": bounds.runs[1],
        "redirect_stderr_to_stdout": False,
        "max_extract_size": settings.files_bytes_max // KB,
        "enable_batched_submissions": True,
        "max_submission_batch_size": BATCH_MAX,
        "submission_cache_duration": 0.0,
        "use_docs_as_homepage": False,
        "allow_enable_network": False,
        "enable_network": False,
    }
