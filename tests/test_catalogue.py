"""Each entry of the catalogue has what rules, programs, report and documentation look for under its name."""

import re
from importlib import import_module

import pytest
from conftest import REPOSITORY

from classlens.config.catalogue import CATEGORIES, FIGURES, TABLES, Item, named
from classlens.errors import InputError

ITEMS = [*(("figures", item) for item in FIGURES), *(("tables", item) for item in TABLES)]
ENTRIES = pytest.mark.parametrize(("kind", "item"), ITEMS, ids=[f"{item.letter} {item.name}" for _, item in ITEMS])


@ENTRIES
def test_an_entry_has_its_module_and_its_caption(kind: str, item: Item) -> None:
    module = import_module(f"classlens.{kind}.{item.name}")
    assert all(callable(getattr(module, name)) for name in (("data", "draw") if kind == "figures" else ("data",)))
    assert (REPOSITORY / "workflow" / "report" / kind / f"{item.name}.rst").is_file()


@ENTRIES
def test_inputs_are_outputs_of_rules(kind: str, item: Item) -> None:
    rules = "\n".join(file.read_text(encoding="utf-8") for file in (REPOSITORY / "rules").glob("*.smk"))
    written = set(re.findall(r'"<results>/([^"]+)"', rules))
    assert item.inputs and set(item.inputs.values()) <= written, "no rule makes these files, or they are shards"
    assert not any("{shard}" in path for path in item.inputs.values())


@pytest.mark.parametrize("items", [FIGURES, TABLES], ids=["figures", "tables"])
def test_entries_are_in_the_order_of_their_letters(items: tuple[Item, ...]) -> None:
    assert {item.analysis for item in items} <= CATEGORIES.keys()
    numbers = [int(item.letter[1:]) for item in items]
    assert numbers == sorted(numbers) and set(numbers) == set(range(1, max(numbers) + 1))
    assert len({item.name for item in items}) == len(items)


@ENTRIES
def test_an_entry_is_in_the_gallery_with_a_sentence(kind: str, item: Item) -> None:
    gallery = (REPOSITORY / "docs" / "gallery.md").read_text(encoding="utf-8")
    if kind == "tables":
        assert re.search(rf"^\| {item.letter} \[`{item.name}`\]\(analyses/\w+\.md\) \| .{{20,}} \|$", gallery, re.MULTILINE)
        return
    (file,) = item.files(["cls"])
    (caption,) = re.findall(rf"^```{{result-figure}} {file}\n((?:.+\n)+)\n((?:.+\n)+)```$", gallery, re.MULTILINE)
    name = f"{item.name}_{{model}}" if item.per_model else item.name
    assert re.match(rf"{item.letter} `{re.escape(name)}`: .{{20,}}\[.+\]\(analyses/\w+\.md\)$", caption[1].replace("\n", " ").strip())


@ENTRIES
def test_an_entry_is_in_the_library_pages_and_the_cluster_profile(kind: str, item: Item) -> None:
    assert f"classlens.{kind}.{item.name}" in (REPOSITORY / "docs" / "library" / "figures.md").read_text(encoding="utf-8")
    profile = (REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8")
    assert f"  {kind[:-1]}_{item.name}: shown\n" in profile, "add the rule to `groups` in profiles/slurm/config.yaml"


def test_a_mistyped_name_has_its_nearest_match() -> None:
    with pytest.raises(InputError, match="there is no mean_evolutoin: did you mean mean_evolution"):
        named(FIGURES, "mean_evolutoin")
