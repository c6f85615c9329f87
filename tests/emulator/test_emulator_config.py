"""The configuration file and its mistakes."""

import copy
from pathlib import Path

import pytest

from airflow_provider_dbtcloud_dlt.emulator.config import ConfigError, example, load, parse


def changed(**changes):
    content = copy.deepcopy(example())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for part in parents:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return content


def test_ids_are_given_in_order(tmp_path):
    """Whoever does not care for ids need not write any."""
    content = changed()
    content["jobs"] = [{"name": name, "steps": ["dbt run"], "script": {}} for name in "ab"]
    content["jobs"][1]["id"] = 1000

    assert [job.id for job in parse(content, tmp_path).jobs] == [1001, 1000]


def test_paths_are_relative_to_the_file(tmp_path, tiny_project):
    """It does not matter where the emulator is started."""
    project = load(tiny_project / "emulator.yaml").projects[0]

    assert (project.dir, project.profiles_dir) == (tmp_path / "dbt", tmp_path / "dbt")


def test_the_token_may_come_from_a_variable(tmp_path, monkeypatch):
    """The file need not hold the secret."""
    monkeypatch.setenv("EMULATOR_TOKEN", "from-outside")

    assert (
        parse(changed(account={"token_env": "EMULATOR_TOKEN"}), tmp_path).tokens[0].secret == "from-outside"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"account": {}}, "account: give either `token` or `token_env`"),
        (
            {"account": {"token_env": "NO_SUCH_VARIABLE"}},
            "the token is empty (NO_SUCH_VARIABLE has no value)",
        ),
        ({"account__run_slots": 0}, "account: `run_slots`: Input should be greater than or equal to 1"),
        ({"jobs__0__stepz": []}, "jobs: 1: there is no key `stepz`; did you mean `steps`?"),
        ({"jobs__0__steps": []}, "jobs: 1: `steps`: List should have at least 1 item"),
        (
            {"jobs__0__steps": ["rm -rf /"]},
            "jobs: 'Nightly build': The step 'rm -rf /' does not start with 'dbt'",
        ),
        (
            {"jobs__0__environment": "Prod"},
            "environment 'Prod' does not exist. There are: 'Production' (100)",
        ),
        ({"jobs__0__script": None}, "its project 'Analytics' needs a `dir`, or the job a `script`"),
        (
            {"jobs__0__script": {"second": 1}},
            "jobs: 1: script: there is no key `second`; did you mean `seconds`?",
        ),
        ({"projects": []}, "`projects`: List should have at least 1 item"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(tmp_path, changes, message):
    """Each mistake is a sentence that names the key."""
    with pytest.raises(ConfigError) as caught:
        parse(changed(**changes), tmp_path)
    assert message in str(caught.value)


def test_a_folder_without_a_dbt_project_is_told(tmp_path):
    """A wrong `dir` shows at once, not in the first run."""
    content = changed(jobs__0__script=None, projects__0__dir=".")

    with pytest.raises(ConfigError, match=r"there is no dbt_project\.yml in"):
        parse(content, tmp_path)


@pytest.mark.parametrize("text", ["", "[", "- 1"])
def test_a_file_that_is_no_mapping_is_told_with_its_name(tmp_path, text):
    """A broken file is named."""
    file = tmp_path / "broken.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load(file)


def test_a_missing_file_is_told():
    """A wrong path is named."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"):
        load(Path("nowhere.yaml"))


@pytest.mark.parametrize("token", ["secret ", " secret", "\tsecret", "schlüssel", "two\nlines", " "])
def test_a_token_that_no_client_could_send_is_refused(tmp_path, monkeypatch, token):
    """It would never match: a header loses spaces at its ends."""
    with pytest.raises(ConfigError, match=r"account: A token is printable ASCII without spaces at its ends"):
        parse(changed(account__token=token), tmp_path)
    monkeypatch.setenv("SECRET", token)
    with pytest.raises(ConfigError, match=r"tokens: 'T': A token is printable ASCII"):
        parse({**example(), "tokens": [{"name": "T", "token_env": "SECRET"}]}, tmp_path)


def test_the_token_is_not_in_what_the_configuration_shows(tmp_path):
    """A configuration may be logged."""
    assert "emulator-token" not in repr(parse(example(), tmp_path))
