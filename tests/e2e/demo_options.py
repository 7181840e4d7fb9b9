"""A demo that takes seconds, but for the starts of its processes."""

SMALL = {
    "asked_old": ("road",),
    "scenes": 6,
    "size": 192,
    "crop": 64,
    "batch": 2,
    "backbone": "tu-test_resnet",
    "workers": 0,
    "iterations": 6,
    "minutes": 1.0,
    "clicks": 10,
    "overrides": {
        "optimisation.iterations": 3,
        "crops.size": 64,
        "crops.batch": 1,
        "head_fit.iterations": 2,
    },
}
