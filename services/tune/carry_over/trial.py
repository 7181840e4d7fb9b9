"""A trial of a carry-over sweep: one update, or a network as it is, scored on all validation images."""

from __future__ import annotations

from typing import Literal

from services.tune.click_trial import ClickTrial


class CarryOverTrial(ClickTrial):
    """A method with its numbers on one choice of clicked images; or the memory or control network."""

    what: Literal["update", "memory", "control"] = "update"
    district: str
    """See `CarryOverCase`."""
    clicked: str
    network: tuple[str, int]
    """Registered name and version: of the memory network, or of the control network where that is scored."""
    clicked_images: int = 0
    context_images: int = 0

    @property
    def title(self) -> str:
        """Name in messages and in MLflow."""
        if self.what != "update":
            return super().title
        images = f"{self.clicked_images} clicked, {self.context_images} context"
        return f"{super().title}; {images}; {self.annotations} clicks; seed {self.seed}"

    @property
    def row_key(self) -> tuple[str, ...]:
        """As of any trial; other numbers of images or clicks are another row."""
        numbers = (self.clicked_images, self.context_images, self.annotations)
        return *super().row_key, *map(str, numbers)

    @property
    def picture_rank(self) -> int:
        """Maps after clicks on many images, with many of context, are shown."""
        return self.clicked_images * 10_000 + self.context_images

    @property
    def rivals(self) -> str | None:
        """None: means over images of different kinds, as they come, say nothing about the whole."""
        return None
