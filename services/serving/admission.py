"""Everything that can be said about an update request before it is accepted.

Whatever is checked here becomes a 4xx at once instead of a failed update minutes later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.geojson import clicks_from_geojson
from icss_core.errors import ClickError, InvalidParameterError
from icss_core.labels import ClassInfo
from icss_core.methods import get_preset, written_out
from icss_core.networks.input_size import check_side, input_size_of_architecture
from icss_core.updating.crops import count_sweep_windows
from icss_core.updating.tiles import working_area
from services.distinct_colour import distinct_colour
from services.serving.orders import ClassClicks, UpdateOrder, fingerprint_of

if TYPE_CHECKING:
    from icss_core.labels import LabelSpace
    from icss_core.methods import Preset
    from icss_core.raster.reader import Raster
    from services.registry import Registry
    from services.serving.images import Images
    from services.serving.requests import UpdateRequest
    from services.settings import Limits


class Admission:
    """Turns requests into orders. Blocking (it reads the image); safe to share between threads."""

    def __init__(self, registry: Registry, images: Images, limits: Limits) -> None:
        self._registry = registry
        self._images = images
        self._limits = limits

    def admit(self, model: str, request: UpdateRequest) -> UpdateOrder:
        """Check a request against the model, the image and the limits.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version to add to.
            ClassExistsError: it knows the class already.
            UnknownPresetError, InvalidParameterError: no such preset or parameter, or over a limit.
            UriNotAllowedError, UploadNotFoundError: the image may not be read, or was not uploaded.
            ImageNotFoundError, ImageUnreadableError: the image cannot be read.
            BandMismatchError, DtypeMismatchError: it is not what the network was trained on.
            ClickError, UnknownClassError: a click cannot be used, or the new class has none.
        """
        preset = get_preset(request.preset, request.overrides)
        self._check_preset(preset)
        self._check_number_of_clicks(request)
        base = self._registry.resolve(model, request.base)
        architecture = base.card.architecture
        check_side(
            input_size_of_architecture(architecture),
            preset.crops.size,
            name="crops.size",
            network=architecture,
        )
        classes = base.card.label_space
        colour = request.new_class.colour or distinct_colour(classes.colours)
        new_class = ClassInfo(name=request.new_class.name, colour=colour)
        label_space = classes.extend(new_class)
        address = self._images.address(request.image)
        card = base.card
        etag = self._images.etag(address)  # before it is read: one that is overwritten meanwhile is noticed
        with self._images.opened(
            address, bands=card.architecture.in_channels, band_numbers=request.bands, dtype=card.dtype
        ) as raster:
            self._check_size(preset, raster)
            clicks = clicks_from_geojson(
                request.clicks, raster, label_space, crs=request.crs, limit=self._limits.max_clicks
            )
        counts = _counts_by_class(clicks.counts(), label_space)
        if all(count.label != label_space.index(new_class.name) for count in counts):
            raise ClickError(
                f"no click of the new class {new_class.name!r}: give some features the property "
                f'"class": "{new_class.name}"'
            )
        return UpdateOrder(
            request=fingerprint_of(model, request),
            model=model,
            base_version=base.version,
            image=address,
            image_etag=etag,
            bands=request.bands,
            new_class=new_class,
            clicks=request.clicks,
            crs=request.crs,
            points=clicks.to_lists(),
            click_counts=counts,
            preset=written_out(preset),
            overrides=request.overrides,
            seed=request.seed,
        )

    def _check_number_of_clicks(self, request: UpdateRequest) -> None:
        features = request.clicks.get("features")
        amount = len(features) if isinstance(features, list) else 0
        if amount > self._limits.max_clicks:
            raise ClickError(f"{amount} clicks; this service takes {self._limits.max_clicks} in one update")

    def _check_preset(self, preset: Preset) -> None:
        """What can be said of a preset without the image."""
        if preset.tiles > self._limits.max_tiles:
            raise InvalidParameterError(
                f"a working area of {preset.tiles} tiles; this service takes {self._limits.max_tiles}"
            )
        if preset.sweeps is None:
            self._check_iterations(preset, preset.optimisation.iterations, "")

    def _check_size(self, preset: Preset, raster: Raster) -> None:
        """What the size of the image makes of a preset that sweeps over it, by arithmetic."""
        if preset.crops.kind != "sweep" and preset.sweeps is None:
            return
        area = working_area(raster.height, raster.width, ClickSet.empty(), limit=preset.tiles)
        windows = count_sweep_windows(raster.height, raster.width, area, preset.crops)
        on_image = f" on {raster.height} x {raster.width} pixels, {windows} windows a sweep,"
        # also where it does not count in sweeps: the windows of one are listed before the first iteration
        once = -(-windows // preset.crops.batch)
        self._check_iterations(preset, max(once, preset.iterations_on(windows)), on_image)

    def _check_iterations(self, preset: Preset, iterations: int, where: str) -> None:
        if iterations > self._limits.max_iterations:
            raise InvalidParameterError(
                f"preset {preset.name!r} with these overrides means {iterations} iterations{where}; "
                f"this service takes {self._limits.max_iterations}"
            )


def _counts_by_class(counts: dict[int, int], label_space: LabelSpace) -> tuple[ClassClicks, ...]:
    return tuple(
        ClassClicks(label=label, name=label_space.names[label], clicks=amount)
        for label, amount in sorted(counts.items())
    )
