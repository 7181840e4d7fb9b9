"""A trial of an interactive sweep: sessions on every validation image, or a network that is only scored."""

from __future__ import annotations

from typing import Literal

from services.tune.click_trial import ClickTrial

What = Literal["session", "memory", "control"]


class InteractiveTrial(ClickTrial):
    """A method with its numbers, or the memory or control network, on the validation images of a data set."""

    what: What = "session"
    """Sessions, one an image; or a network that is scored as it is."""
    memory: tuple[str, int]
    """Its registered name and version."""
    control: tuple[str, int] | None = None
    images: int | None = None
    look_every: int | None = None

    @property
    def title(self) -> str:
        """Name in messages and in MLflow."""
        if self.what != "session":
            return super().title
        return f"{super().title}; {self.annotations} clicks; seed {self.seed}"

    @property
    def row_key(self) -> tuple[str, ...]:
        """As of any trial; another number of clicks is another row."""
        return *super().row_key, str(self.annotations)

    @property
    def picture_rank(self) -> int:
        """The number of clicks: maps after many are shown."""
        return self.annotations

    @property
    def rivals(self) -> str | None:
        """Sessions of the same pair with as many clicks; a network that is only scored has none."""
        return f"{self.case}; {self.annotations} clicks" if self.what == "session" else None
