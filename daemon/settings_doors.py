"""Settings of the doors besides the base contract: which other APIs a server speaks, and whether it shows a page."""

from typing import Literal

import pydantic

Dialect = Literal["piston", "judge0", "jobe", "sandboxfusion"]


class Doors(pydantic.BaseModel):
    """A part of Settings."""

    dialects: tuple[Dialect, ...] = pydantic.Field(
        (),
        description="APIs of other servers to answer: piston, judge0, jobe, sandboxfusion",
    )
    jobe_files_mb: int = pydantic.Field(256, gt=0, description="files that Jobe's clients have put, of all together")
    jobe_files_of_client_mb: int = pydantic.Field(64, gt=0, description="and of one client; older ones give way")
    jobe_files_hours: float = pydantic.Field(48.0, gt=0, description="and for how long after their last use")
    playground: bool = pydantic.Field(True, description="show browsers a page at / that runs programs")
    judge0_queue: int = pydantic.Field(1000, gt=0, description="submissions of judge0 that wait, accepted, to be run")
    judge0_submissions_max: int = pydantic.Field(20_000, gt=0, description="submissions of judge0 that are kept")
    judge0_mb_max: int = pydantic.Field(2048, gt=0, description="and their size, with what they printed")
    judge0_keep_s: float = pydantic.Field(86_400.0, gt=0, description="for a submission of judge0 to be kept")
    judge0_callback_hosts: tuple[str, ...] = pydantic.Field(
        (), description="names and addresses that submissions of judge0 may have called when they end"
    )
