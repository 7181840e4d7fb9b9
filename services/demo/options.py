"""What the main job is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of the main job; None means a default that depends on the data.

    data: folder with the Dubai set or a user's own images and masks; None: made-up towns.
    asked_old: classes the memory network learns; new: the class added by clicks; the rest is background.
    backbone: encoder of the networks. minutes: of pretraining. control: also train a network on all classes
    with full masks. clicks: of the new class, and as many of the background. images: validation scenes to
    add the class on. overrides: numbers of the update's preset. scenes, size: made-up scenes to train on, and
    their side in pixels.
    """

    data: Path | None = None
    asked_old: tuple[str, ...] | None = None
    new: str = "building"
    out: Path = Path("out")
    minutes: float | None = None
    control: bool = False
    clicks: int | None = None
    images: int | None = None
    seed: int = 0
    preset: str = "icss"
    overrides: dict[str, float] = field(default_factory=dict)
    decoder: str = "linknet"
    backbone: str | None = None
    iterations: int | None = None
    batch: int = 4
    crop: int = 256
    workers: int = 2
    scenes: int = 6
    size: int = 768

    @property
    def made_up(self) -> bool:
        """Whether the scenes are generated."""
        return self.data is None

    @property
    def old(self) -> tuple[str, ...]:
        """Classes of the memory network: as asked, or the others of a town, or the road of real imagery."""
        return self.asked_old or (("road", "vegetation", "water") if self.made_up else ("road",))

    @property
    def encoder(self) -> str:
        """As asked, or small enough for the minutes of a demo, or the one of the ICSS paper."""
        return self.backbone or ("resnet18" if self.made_up else "resnet34")

    @property
    def name(self) -> str:
        """Of the model and of the data set."""
        return "town" if self.data is None else self.data.resolve().name

    @property
    def pretraining_minutes(self) -> float:
        """As asked, or what the data needs at least for a road network worth keeping."""
        return self.minutes or (2.5 if self.made_up else 12.0)

    @property
    def clicks_per_class(self) -> int:
        """As asked, or few enough to make by hand (towns), or as many as the ICSS paper takes."""
        return self.clicks or (60 if self.made_up else 300)

    @property
    def sessions(self) -> int:
        """How many validation images get the new class."""
        return self.images or (1 if self.made_up else 3)
