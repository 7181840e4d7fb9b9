"""Label spaces for tests."""

from icss_core.labels import ClassInfo, LabelSpace


def label_space(n_classes: int) -> LabelSpace:
    names = ["background", *(f"class {i}" for i in range(1, n_classes))]
    return LabelSpace(classes=tuple(ClassInfo(name=name, colour=(i, 0, 0)) for i, name in enumerate(names)))
