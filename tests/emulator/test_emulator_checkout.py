"""Branches and commits of a project that lies in a git repository."""

import subprocess

import pytest

from airflow_provider_dbtcloud_dlt.emulator.checkout import CheckoutError, check_out


def git(folder, *arguments):
    who = ["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder, text):
    (folder / "dbt" / "dbt_project.yml").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    """A repository whose `dbt` says which commit it is: `one` on main, `two` on a branch; not committed."""
    folder = tmp_path / "repo"
    (folder / "dbt").mkdir(parents=True)
    git(folder, "init", "-q")
    commit(folder, "one")
    git(folder, "checkout", "-qb", "feature/two")
    commit(folder, "two")
    git(folder, "checkout", "-q", "main")
    (folder / "dbt" / "dbt_project.yml").write_text("not committed")
    return folder


@pytest.fixture
def content(repository, tmp_path):
    """What the project says in a checkout."""
    return lambda **asked: (
        check_out(repository / "dbt", tmp_path / "run", **asked).project_dir / "dbt_project.yml"
    ).read_text()


def test_without_a_wish_the_folder_is_read_as_it_is(content):
    """What is not committed yet counts: that is what a person is working on."""
    assert content() == "not committed"


def test_a_branch_is_what_was_committed_on_it(content):
    """A slash in its name does not matter."""
    assert content(branch="feature/two") == "two"


def test_a_commit_may_be_abbreviated(content, repository):
    """As people copy it."""
    assert content(sha=git(repository, "rev-parse", "feature/two")[:8]) == "two"


def test_a_commit_counts_more_than_a_branch(content, repository):
    """With both, the commit says exactly what is meant."""
    assert content(branch="main", sha=git(repository, "rev-parse", "feature/two")) == "two"


def test_a_branch_of_the_origin_will_do(repository, tmp_path):
    """A clone has branches that nobody has checked out yet."""
    git(tmp_path, "clone", "-q", str(repository), "clone")
    found = check_out(tmp_path / "clone" / "dbt", tmp_path / "run", branch="feature/two")

    assert (found.project_dir / "dbt_project.yml").read_text() == "two"


def test_branch_and_commit_are_told(repository, tmp_path):
    """The whole commit, for an abbreviated one too."""
    sha = git(repository, "rev-parse", "feature/two")
    found = check_out(repository / "dbt", tmp_path / "run", branch="feature/two", sha=sha[:8])
    here = check_out(repository / "dbt", tmp_path / "other")

    assert (found.branch, found.sha) == ("feature/two", sha)
    assert (here.branch, here.sha) == ("main", git(repository, "rev-parse", "main"))


@pytest.mark.parametrize(
    "asked",
    [
        {"branch": "nope"},
        {"sha": "deadbeef"},
        {"sha": "main"},
        {"sha": "--help"},
        {"branch": "--help"},
        {"branch": "../../heads/main"},
        {"branch": "main^{tree}"},
    ],
)
def test_what_the_repository_does_not_have_is_told(repository, tmp_path, asked):
    """Nothing that a client sends is an option of git's."""
    with pytest.raises(CheckoutError, match=r"has no (branch|commit)"):
        check_out(repository / "dbt", tmp_path / "run", **asked)


def test_a_commit_without_the_project_is_told(repository, tmp_path):
    """The folder may have come later."""
    git(repository, "checkout", "-q", "--orphan", "empty")
    git(repository, "rm", "-rqf", ".")
    git(repository, "commit", "-qm", "empty", "--allow-empty")
    git(repository, "checkout", "-q", "main")

    with pytest.raises(CheckoutError, match="branch empty has no dbt project in dbt"):
        check_out(repository / "dbt", tmp_path / "run", branch="empty")


def test_hooks_of_the_repository_do_not_run(repository, tmp_path):
    """A run executes dbt and nothing else."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hook = hooks / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    hook.chmod(0o755)
    git(repository, "config", "core.hooksPath", str(hooks))

    check_out(repository / "dbt", tmp_path / "run", branch="main")

    assert not (tmp_path / "ran").exists()


def test_a_folder_without_git_is_read_as_it_is(tmp_path):
    """A wish that cannot be fulfilled is told in the log, and not pretended."""
    (tmp_path / "dbt").mkdir()
    found = check_out(tmp_path / "dbt", tmp_path / "run", branch="main")

    assert found.project_dir == tmp_path / "dbt"
    assert "it is no git repository, so branch main is not used" in found.log
