"""The project's files for a run: as they lie in its folder, or a commit of the git repository around it.

The user's repository is only read: nothing of a run's is left in it. Submodules are not supported: their
folders are empty.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

_SHA = re.compile(r"[0-9a-fA-F]{4,64}")

# What git tells the programs that it starts, hooks above all: with these, every git works on the repository
# of that one, wherever it is started. As `git rev-parse --local-env-vars` lists them.
_LOCAL_VARIABLES = frozenset(
    ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_DIR")
    + ("GIT_CONFIG_PARAMETERS", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE")
    + ("GIT_INTERNAL_SUPER_PREFIX", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
    + ("GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE")
)

# No hook of anybody's runs, and nothing is written just because it would be quicker the next time.
_GIT = (
    "git",
    "--no-optional-locks",
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false"),
)

Run = Callable[[Sequence[str], Path, Mapping[str, str]], "subprocess.CompletedProcess[str]"]
"""Runs a command in a folder with an environment, and keeps what it prints."""


class CheckoutError(Exception):
    """A branch or a commit cannot be had; the message says why."""


@dataclass(frozen=True)
class Checkout:
    """Where a run finds its project.

    Attributes:
        project_dir: The folder with dbt_project.yml.
        branch: The branch that is checked out, if git knows of one.
        sha: The commit that is checked out, if git knows of one.
        log: What a person is told about it.
    """

    project_dir: Path
    branch: str | None
    sha: str | None
    log: str


def environment() -> dict[str, str]:
    """Return this process's environment variables without those that lead git to another repository."""
    return {name: value for name, value in os.environ.items() if name not in _LOCAL_VARIABLES}


def run_to_its_end(
    command: Sequence[str], folder: Path, env: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a command, however long it takes."""
    return subprocess.run(  # noqa: S603 - no shell; what a user sent stands behind refs/ or is hexadecimal
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def check_out(
    project_dir: Path,
    folder: Path,
    branch: str | None = None,
    sha: str | None = None,
    run: Run = run_to_its_end,
) -> Checkout:
    """Return where a run finds the project.

    Without branch and commit that is the project's own folder, with whatever is not committed yet: that is
    how people work on a project. Otherwise the commit is put into a folder of the run's own. Of both, the
    commit counts.

    Args:
        project_dir: The project's own folder.
        folder: Where a commit would go; must not exist.
        branch: The branch, of the repository itself or of its ``origin``.
        sha: The commit, whole or abbreviated.
        run: What runs git.

    Raises:
        CheckoutError: If the repository has no such branch or commit.
    """
    ask = partial(_answer, run, project_dir)
    top = ask("rev-parse", "--show-toplevel")
    if top is None:
        asked = f"; it is no git repository, so {_asked(branch, sha)} is not used" if branch or sha else ""
        return Checkout(
            project_dir, branch, sha, f"The project is read where it is, in {project_dir}{asked}.\n"
        )
    if not branch and not sha:
        on = ask("symbolic-ref", "--quiet", "--short", "HEAD")
        head = ask("rev-parse", "--verify", "--quiet", "HEAD")
        changed = ask("status", "--porcelain", "--", ".")
        state = ", with changes that are not committed" if changed else ""
        where = f"{on or 'no branch'} at {head or 'no commit'}{state}"
        return Checkout(
            project_dir, on, head, f"The project is read where it is, in {project_dir}: {where}.\n"
        )
    commit = _commit(ask, branch, sha)
    if commit is None:
        raise CheckoutError(f"The git repository in {top} has no {_asked(branch, sha)}.")
    done = _write(run, ask("rev-parse", "--absolute-git-dir") or "", commit, folder)
    if done.returncode:
        raise CheckoutError(f"{_asked(branch, sha)} could not be checked out: {done.stderr.strip()}")
    inside = folder / project_dir.resolve().relative_to(Path(top).resolve())
    if not (inside / "dbt_project.yml").is_file():
        raise CheckoutError(f"{_asked(branch, sha)} has no dbt project in {inside.relative_to(folder)}.")
    return Checkout(inside, branch, commit, f"Checked out {_asked(branch, sha)} of {top}: commit {commit}.\n")


def _write(run: Run, git_dir: str, commit: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Put a commit's files into a folder, straight from the repository's objects.

    A clone of a shallow clone cannot be had without copying it, a worktree has to be cleared away after the
    run, and an archive leaves out what `export-ignore` says. This is what `git checkout` does, with an index
    beside the folder.
    """
    folder.mkdir(parents=True)
    folder = folder.resolve()
    env = {"GIT_INDEX_FILE": f"{folder}.index"}
    # All files of the commit: projects use packages beside them. A sparse checkout is the user's own matter.
    where = ("-c", "core.sparseCheckout=false", f"--git-dir={git_dir}", f"--work-tree={folder}")
    return _git(run, folder, *where, "read-tree", "--no-recurse-submodules", "-m", "-u", commit, env=env)


def _commit(ask: Callable[..., str | None], branch: str | None, sha: str | None) -> str | None:
    """Return the commit that a branch or an abbreviated commit stands for, if there is exactly one.

    Both are names and nothing else: git's way of writing `main~1` does not count.
    """
    if sha:
        found = ask("rev-parse", f"--disambiguate={sha}") if _SHA.fullmatch(sha) else None
    elif "\0" in str(branch):  # which no process can be given
        found = None
    else:
        places = ("refs/heads", "refs/remotes/origin")
        answers = (ask("show-ref", "--verify", "--hash", f"{place}/{branch}") for place in places)
        found = next((answer for answer in answers if answer), None)
    objects = (found or "").split()
    # What is abbreviated may be the beginning of files, too.
    commits = [one for one in objects if ask("rev-parse", "--verify", "--quiet", f"{one}^{{commit}}") == one]
    return commits[0] if len(commits) == 1 else None


def _asked(branch: str | None, sha: str | None) -> str:
    return f"commit {sha}" if sha else f"branch {branch}"


def _answer(run: Run, folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None if it fails, or is not installed."""
    try:
        done = _git(run, folder, *arguments)
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()


def _git(
    run: Run, folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    # Nobody is there to be asked for a password.
    return run((*_GIT, *arguments), folder, {**environment(), "GIT_TERMINAL_PROMPT": "0", **(env or {})})
