"""The sentence of the explorer about an image, for every course of its counts."""

import re
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from classlens.explorer import page
from classlens.explorer.page.modules import one_script

PATCHES = 9
SENTENCE = """all => {
  MODULE
  const series = counts => new Series({ arrays: { first: Object.assign(Uint16Array.from(counts), { shape: [1, counts.length] }) } }, 9);
  return all.map(counts => series(counts).sentence(0));
}"""


def sentences(browser: Browser, counts: list[list[int]]) -> list[str]:
    module = one_script(Path(page.__file__).parent / "series.js")
    context = browser.new_context()
    found: list[str] = context.new_page().evaluate(SENTENCE.replace("MODULE", module), counts)
    context.close()
    return found


def test_every_number_of_a_sentence_is_a_count_or_a_block(browser: Browser) -> None:
    courses = [list(counts) for depth in (1, 2, 4) for counts in product((0, 1, 4, PATCHES), repeat=depth)]
    for counts, said in zip(courses, sentences(browser, courses), strict=True):
        assert not re.search("Infinity|NaN|undefined", said), (counts, said)
        numbers = [int(number) for number in re.findall(r"\d+", re.sub(r"block \d+|of 9", "", said))]
        assert set(numbers) <= set(counts), (counts, said)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([0, 0, 0], "no patch in any block"),
        ([0, 1, 7], "at most 1 patch until block 2, 7 of 9 from block 3"),
        ([0, 0, 7], "no patch until block 2, 7 of 9 from block 3"),
        ([2, 8, 9, 4], "at most 2 patches until block 1, 8 to 9 of 9 from block 2, 4 in the last"),
        ([5, 5, 5], "5 of 9 in all blocks"),
        ([9, 2, 4], "2 to 9 of 9 in all blocks"),
        ([3], "3 of 9 in all blocks"),
    ],
)
def test_sentences(browser: Browser, counts: list[int], said: str) -> None:
    assert sentences(browser, [counts]) == [said]
