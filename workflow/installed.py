"""The workflow of classlens as an installed package: its Snakefile, and the command `classlens`.

    import classlens_workflow

    module classlens:
        snakefile: classlens_workflow.SNAKEFILE
        config: config["classlens"]
"""

import sys
from pathlib import Path

SNAKEFILE = str(Path(__file__).parent / "Snakefile")


def main() -> None:
    """Run the command `classlens`."""
    sys.path.insert(0, str(Path(__file__).parent / "workflow" / "scripts"))
    import command

    command.main()
