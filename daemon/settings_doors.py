"""Settings of the doors besides the base contract: which other APIs a server speaks. All of them are off by default."""

from typing import Literal

import pydantic

Dialect = Literal["piston", "judge0", "jobe", "sandboxfusion"]


class Doors(pydantic.BaseModel):
    """A part of Settings."""

    dialects: tuple[Dialect, ...] = pydantic.Field(
        (),
        description="APIs of other servers to answer: piston, judge0, jobe, sandboxfusion",
    )
