"""Branches and commits of a project that lies in a git repository."""

import subprocess
from pathlib import Path

import pytest

from airflow_provider_dbtcloud_dlt.emulator import checkout
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
        {"branch": "main^{/one}"},
        {"branch": "main~0"},
        {"branch": "main@{0}"},
        {"branch": "main\0"},
        {"branch": "ma*n"},
    ],
)
def test_what_the_repository_does_not_have_is_told(repository, tmp_path, asked):
    """Nothing that a client sends is an option of git's."""
    with pytest.raises(CheckoutError, match=r"has no (branch|commit)"):
        check_out(repository / "dbt", tmp_path / "run", **asked)


def test_only_a_commit_has_a_commits_number(repository, tmp_path):
    """Files and folders have such numbers, too, and so do tags."""
    git(repository, "tag", "-am", "x", "v1")
    for name in ("main:dbt", "main:dbt/dbt_project.yml", "v1"):
        with pytest.raises(CheckoutError, match="has no commit"):
            check_out(repository / "dbt", tmp_path / "run", sha=git(repository, "rev-parse", name))


def test_a_commit_without_the_project_is_told(repository, tmp_path):
    """The folder may have come later."""
    git(repository, "checkout", "-q", "--orphan", "empty")
    git(repository, "rm", "-rqf", ".")
    git(repository, "commit", "-qm", "empty", "--allow-empty")
    git(repository, "checkout", "-q", "main")

    with pytest.raises(CheckoutError, match="branch empty has no dbt project in dbt"):
        check_out(repository / "dbt", tmp_path / "run", branch="empty")


def test_hooks_do_not_run(repository, tmp_path, monkeypatch):
    """A run executes dbt and nothing else, whatever the user's git does otherwise."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
        (hooks / name).chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    git(repository, "read-tree", "HEAD")
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()

    check_out(repository / "dbt", tmp_path / "run", branch="main")

    assert not (tmp_path / "ran").exists()


def state(repository):
    """All that git knows of a repository, and its files."""
    files = (path for path in repository.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_the_users_repository_stays_as_it_was(repository, tmp_path):
    """Neither a look at the folder nor a checkout writes to it."""
    git(repository, "config", "core.splitIndex", "true")
    (repository / "dbt" / "dbt_project.yml").touch()
    before = state(repository)

    check_out(repository / "dbt", tmp_path / "run")
    check_out(repository / "dbt", tmp_path / "run", branch="feature/two")

    assert state(repository) == before


def test_the_variables_of_a_hook_lead_nowhere(repository, tmp_path, monkeypatch):
    """A pre-commit hook that starts a run has git's variables, which name the repository of the commit."""
    git(tmp_path, "init", "-q", "other")
    other = tmp_path / "other"
    (other / "mine").write_text("x")
    git(other, "add", "-A")
    before = state(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))

    found = check_out(repository / "dbt", tmp_path / "run", branch="feature/two")

    assert (found.project_dir / "dbt_project.yml").read_text() == "two"
    assert state(other) == before


def test_the_list_of_gits_variables_is_gits():
    """A later git may have more of them."""
    assert set(git(".", "rev-parse", "--local-env-vars").split()) <= checkout._LOCAL_VARIABLES


def test_a_shallow_clone_will_do(repository, tmp_path):
    """CI's clones have no history."""
    git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", f"file://{repository}", "shallow")
    shallow = tmp_path / "shallow" / "dbt"

    for number, asked in enumerate(({"branch": "feature/two"}, {"branch": "main"})):
        found = check_out(shallow, tmp_path / f"run{number}", **asked)
        assert (found.project_dir / "dbt_project.yml").read_text() == ("two", "one")[number]


def test_a_linked_worktree_will_do(repository, tmp_path):
    """Its folder has a file in place of `.git`."""
    git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    found = check_out(tmp_path / "linked" / "dbt", tmp_path / "run", branch="feature/two")

    assert (found.project_dir / "dbt_project.yml").read_text() == "two"


def test_a_checkout_has_every_file_of_the_commit(repository, tmp_path, monkeypatch):
    """Also those that no archive has, and those that the user does not have checked out."""
    (repository / ".gitattributes").write_text("macros export-ignore\n")
    for folder in ("macros", "shared"):
        (repository / folder).mkdir()
        (repository / folder / "file.sql").write_text("select 1")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "more")
    git(repository, "sparse-checkout", "set", "dbt")
    monkeypatch.chdir(tmp_path)

    check_out(repository / "dbt", Path("run"), branch="main")

    assert not (repository / "shared").exists()
    found = {path.relative_to("run").as_posix() for path in Path("run").rglob("*") if path.is_file()}
    assert found == {".gitattributes", "dbt/dbt_project.yml", "macros/file.sql", "shared/file.sql"}


@pytest.mark.parametrize("letters", [str.lower, str.upper])
def test_a_branch_that_looks_like_a_commit_is_none(content, repository, letters):
    """`git rev-parse` takes the branch of that name."""
    sha = letters(git(repository, "rev-parse", "main")[:8])
    git(repository, "branch", sha, "feature/two")

    assert content(sha=sha) == "one"


def test_a_folder_without_git_is_read_as_it_is(tmp_path):
    """A wish that cannot be fulfilled is told in the log, and not pretended."""
    (tmp_path / "dbt").mkdir()
    found = check_out(tmp_path / "dbt", tmp_path / "run", branch="main")

    assert found.project_dir == tmp_path / "dbt"
    assert "it is no git repository, so branch main is not used" in found.log
