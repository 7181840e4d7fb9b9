"""The fenced blocks of README.md, for the tests that run them."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language, *, text=TEXT):
    """Contents of the fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def tour():
    """The commands of the tour over the running services, as one script."""
    (section,) = re.findall(r"<!-- tour: begin -->(.*?)<!-- tour: end -->", TEXT, flags=re.DOTALL)
    return "\n".join(blocks("bash", text=section))
