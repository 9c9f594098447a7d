"""The pictures of the README: well-formed, the same in light and dark, and found by it."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.system.processes import ROOT

IMAGES = ROOT / "docs" / "images"
COLOUR = re.compile(r"#[0-9a-f]{6}\b")


@pytest.mark.parametrize("image", sorted(IMAGES.glob("*.svg")), ids=lambda image: image.name)
def test_an_image_is_well_formed_and_has_a_title(image: Path) -> None:
    root = ET.parse(image).getroot()
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text


def test_the_dark_picture_is_the_light_one_in_other_colours() -> None:
    light = (IMAGES / "overview.svg").read_text(encoding="utf-8")
    dark = (IMAGES / "overview-dark.svg").read_text(encoding="utf-8")
    assert COLOUR.sub("", light) == COLOUR.sub("", dark)
    assert light != dark


def test_the_readme_finds_its_pictures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"docs/images/[\w-]+\.svg", text)
    assert sorted({name.removeprefix("docs/images/") for name in named}) == sorted(
        image.name for image in IMAGES.glob("*.svg")
    )
