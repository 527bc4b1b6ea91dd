"""Write runs/NAME/config.yaml, of what MODEL, TEXT, COUNT and LENGTH of the environment say, and print that folder.

The arguments are those of the four that count: `make run` names what its command line has. No rule.
"""

import os
import sys
from pathlib import Path

import yaml

from triaxis.base.errors import UserError
from triaxis.text.own import own_run

try:
    name, config = own_run(
        {own: os.environ[own] for own in sys.argv[1:]}, yaml.safe_load(Path("config.yaml").read_text())
    )
except UserError as error:
    sys.exit(f"ERROR: {error}")
folder = Path("runs", name)
folder.mkdir(parents=True, exist_ok=True)
text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
(folder / "config.yaml").write_text(f"# Written by make run, of its {', '.join(sys.argv[1:])}.\n{text}")
print(folder)
