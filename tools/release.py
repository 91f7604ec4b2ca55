"""Check that the checkout can be released, build its sdist and wheel in dist/, and print the commands that publish them.

It needs uv beside this Python interpreter and a network, and no package of the workflow.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
VERSIONS = {
    "workflow/scripts/classlens/version.py": r'^__version__ = "(.+)"$',
    "CITATION.cff": r"^version: (.+)$",
    "CHANGELOG.md": r"^## (\S+)",
}
"""Files that state the version, and where. Of several matches, the first counts."""
DATED = r"^## {version} \(\d{{4}}-\d\d-\d\d\)$"
"""The heading of a release in CHANGELOG.md."""


def versions(folder: Path) -> dict[str, str]:
    """Return the version that each file states."""
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in VERSIONS}
    return {name: match[1] if (match := re.search(VERSIONS[name], text, re.MULTILINE)) else "none" for name, text in texts.items()}


def problems(folder: Path) -> Iterator[str]:
    """Yield what must be mended before a release."""
    stated = versions(folder)
    if len(set(stated.values())) > 1:
        yield f"the versions differ: {', '.join(f'{version} in {name}' for name, version in stated.items())}"
    version = stated["CHANGELOG.md"]
    if not re.search(DATED.format(version=re.escape(version)), (folder / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE):
        yield f"CHANGELOG.md gives {version} no date: write it as ## {version} (YYYY-MM-DD)"
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True).stdout
    if changed:
        yield f"git status lists changes: commit or remove {', '.join(line[3:] for line in changed.splitlines())}"


def build(folder: Path, version: str) -> list[Path]:
    """Build sdist and wheel, check them, and return their paths.

    Raises:
        SystemExit: the files have another version than the code states.
    """
    uv, target = Path(sys.executable).with_name("uv"), folder / "dist"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([uv, "build", "--quiet", "--out-dir", target], cwd=folder, check=True)
    made = [target / f"classlens-{version}.tar.gz", target / f"classlens-{version}-py3-none-any.whl"]
    found = sorted(target.glob("*-*"))
    if found != sorted(made):
        sys.exit(f"error: uv has built {', '.join(path.name for path in found)}, not {' and '.join(path.name for path in made)}")
    subprocess.run([uv, "tool", "run", "--quiet", "twine", "check", "--strict", *made], check=True)
    return made


def main() -> None:
    """Build the release of this checkout."""
    found = list(problems(REPOSITORY))
    if found:
        sys.exit("\n".join(f"error: {problem}" for problem in found))
    version = versions(REPOSITORY)["CHANGELOG.md"]
    made = build(REPOSITORY, version)
    print(*(f"{path.relative_to(REPOSITORY)} ({path.stat().st_size // 1000} kB)" for path in made), sep="\n")
    print(
        "\nTo publish them, push the tag: .github/workflows/release.yml builds them again, uploads them to PyPI, and makes the release.",
        f"  git tag --annotate v{version} --message 'classlens {version}'",
        f"  git push origin v{version}",
        sep="\n",
    )


if __name__ == "__main__":
    main()
