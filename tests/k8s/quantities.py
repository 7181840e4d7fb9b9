"""Kubernetes' quantities as numbers."""

from decimal import Decimal

SUFFIXES = {"m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def number(quantity):
    """A quantity in processors, bytes or pieces."""
    text = str(quantity)
    suffix = text.lstrip("0123456789.")
    return Decimal(text.removesuffix(suffix)) * SUFFIXES[suffix] if suffix else Decimal(text)


def total(resources):
    """The sum of several resources: mappings of names to quantities."""
    sums = {}
    for one in resources:
        for name, quantity in one.items():
            sums[name] = sums.get(name, Decimal(0)) + number(quantity)
    return sums
