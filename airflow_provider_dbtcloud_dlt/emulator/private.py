"""Files for their owner alone: the state holds tokens, logs and what triggers said."""

import os
import tempfile
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can look into and git leaves alone; one that is there stays."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # By default it lies in the working directory, which may be a repository.
        (folder / ".gitignore").write_text("*\n", encoding="ascii")


def write(file: Path, text: str) -> None:
    """Write a file that only its owner can read, so that nobody ever finds half of it."""
    # The part is made with the mode 0600.
    descriptor, part = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(text)
    os.replace(part, file)
