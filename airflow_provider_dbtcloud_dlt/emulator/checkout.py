"""The project's files for a run: as they lie in its folder, or a commit of the git repository around it."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SHA = re.compile(r"[0-9a-fA-F]{4,64}")


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


def check_out(project_dir: Path, folder: Path, branch: str | None = None, sha: str | None = None) -> Checkout:
    """Return where a run finds the project.

    Without branch and commit that is the project's own folder, with whatever is not committed yet: that is
    how people work on a project. Otherwise the commit is put into a folder of the run's own. Of both, the
    commit counts.

    Args:
        project_dir: The project's own folder.
        folder: Where a commit would go; must not exist.
        branch: The branch, of the repository itself or of its ``origin``.
        sha: The commit, whole or abbreviated.

    Raises:
        CheckoutError: If the repository has no such branch or commit.
    """
    top = _git(project_dir, "rev-parse", "--show-toplevel")
    if top is None:
        asked = f"; it is no git repository, so {_asked(branch, sha)} is not used" if branch or sha else ""
        return Checkout(
            project_dir, branch, sha, f"The project is read where it is, in {project_dir}{asked}.\n"
        )
    if not branch and not sha:
        on = _git(project_dir, "symbolic-ref", "--quiet", "--short", "HEAD")
        head = _git(project_dir, "rev-parse", "--verify", "--quiet", "HEAD")
        changed = _git(project_dir, "status", "--porcelain", "--", ".")
        state = ", with changes that are not committed" if changed else ""
        where = f"{on or 'no branch'} at {head or 'no commit'}{state}"
        return Checkout(
            project_dir, on, head, f"The project is read where it is, in {project_dir}: {where}.\n"
        )
    commit = _commit(project_dir, branch, sha)
    if commit is None:
        raise CheckoutError(f"The git repository in {top} has no {_asked(branch, sha)}.")
    # Shares the objects of the repository: quick, however long its history is. No hook of anybody's runs.
    for arguments in (
        ("clone", "--quiet", "--shared", "--no-checkout", top, str(folder)),
        ("-C", str(folder), "-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "--detach", commit),
    ):
        done = _run(Path(top), *arguments)
        if done.returncode:
            raise CheckoutError(f"{_asked(branch, sha)} could not be checked out: {done.stderr.strip()}")
    inside = folder / project_dir.resolve().relative_to(Path(top).resolve())
    if not (inside / "dbt_project.yml").is_file():
        raise CheckoutError(f"{_asked(branch, sha)} has no dbt project in {inside.relative_to(folder)}.")
    return Checkout(inside, branch, commit, f"Checked out {_asked(branch, sha)} of {top}: commit {commit}.\n")


def _commit(project_dir: Path, branch: str | None, sha: str | None) -> str | None:
    """Return the commit that a branch or an abbreviated commit stands for, if there is one."""
    if sha:
        wanted = [sha] if _SHA.fullmatch(sha) else []
    else:
        wanted = [f"refs/heads/{branch}", f"refs/remotes/origin/{branch}"]
    found = (
        _git(project_dir, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{one}^{{commit}}")
        for one in wanted
    )
    return next((commit for commit in found if commit), None)


def _asked(branch: str | None, sha: str | None) -> str:
    return f"commit {sha}" if sha else f"branch {branch}"


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None if it fails, or is not installed."""
    try:
        done = _run(folder, *arguments)
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()


def _run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - no shell; what a user sent stands behind refs/ or is hexadecimal
        ["git", *arguments],  # noqa: S607 - the user's git
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
