"""The chain of dependencies that took longest."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.results.critical_path import critical_path
from airflow_provider_dbtcloud_dlt.results.manifest import Node, reduced
from airflow_provider_dbtcloud_dlt.results.outcome import NodeResult


def ran(name: str, began: float, ended: float, step: int = 3) -> NodeResult:
    kind = "test" if name.startswith("t_") else "model"
    return NodeResult(step, f"{kind}.shop.{name}", "success", ended - began, began=began, ended=ended)


def nodes(**depends_on: str) -> dict[str, Node]:
    """A manifest's nodes, each with the names of those that it depends on."""

    def unique_id(name: str) -> str:
        return f"{'test' if name.startswith('t_') else 'model'}.shop.{name}"

    return {
        unique_id(name): Node(depends_on=tuple(map(unique_id, its.split())))
        for name, its in depends_on.items()
    }


def path(results: Sequence[NodeResult], known: Mapping[str, Node]) -> list[str]:
    return [results[place].name for place in critical_path(results, known)]


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[NodeResult], dict[str, Node]]:
    """Up to seven nodes, each begun after those that it depends on had ended."""
    number = draw(st.integers(1, 7))
    results: list[NodeResult] = []
    known: dict[str, Node] = {}
    for place in range(number):
        parents = [one for one in results if draw(st.booleans())]
        free = max((one.ended or 0.0 for one in parents), default=0.0)
        began = free + draw(st.integers(0, 3))
        results.append(ran(f"m{place}", began, began + draw(st.integers(0, 5))))
        known[results[-1].unique_id] = Node(depends_on=tuple(one.unique_id for one in parents))
    return draw(st.permutations(results)), known


def chains(results: Sequence[NodeResult], known: Mapping[str, Node]) -> list[list[int]]:
    """All chains of dependencies that there are."""
    by_id = {one.unique_id: place for place, one in enumerate(results)}

    def ending_in(place: int) -> list[list[int]]:
        earlier = [by_id[one] for one in known[results[place].unique_id].depends_on]
        return [[place], *([*chain, place] for parent in earlier for chain in ending_in(parent))]

    return [chain for place in range(len(results)) for chain in ending_in(place)]


@given(schedules())
def test_no_chain_takes_longer(schedule: tuple[list[NodeResult], dict[str, Node]]) -> None:
    """It is a chain of dependencies, and of all chains one that took longest."""
    results, known = schedule
    found = critical_path(results, known)
    every = chains(results, known)

    def took(chain: Sequence[int]) -> float:
        return sum(results[place].seconds or 0.0 for place in chain)

    assert found in every
    assert took(found) == max(map(took, every))


def test_a_model_waits_for_the_tests_of_its_parents() -> None:
    """As `dbt build` lets it."""
    results = [ran("a", 0, 1), ran("t_a", 1, 5), ran("b", 5, 6)]
    assert path(results, nodes(a="", b="a", t_a="a")) == ["a", "t_a", "b"]


def test_a_test_that_ran_later_held_nothing_up() -> None:
    """In a step of its own, after the models."""
    results = [ran("a", 0, 1), ran("b", 1, 2), ran("t_a", 2, 9, step=4)]
    assert path(results, nodes(a="", b="a", t_a="a")) == ["a", "t_a"]


def test_a_test_of_an_earlier_step_held_nothing_up() -> None:
    """The step after it had to wait for the whole of it."""
    results = [ran("t_a", 0, 5), ran("a", 6, 7, step=4), ran("b", 7, 8, step=4)]
    assert path(results, nodes(a="", b="a", t_a="a")) == ["t_a"]


def test_nodes_that_did_not_run_are_bridged() -> None:
    """An ephemeral model, or one that was not selected, keeps the order of those around it."""
    known = nodes(a="", hidden="a", also_hidden="hidden", b="also_hidden")
    results = [ran("a", 0, 1), ran("b", 1, 2)]
    assert path(results, reduced(known, {one.unique_id for one in results})) == ["a", "b"]


def test_thousands_of_nodes_that_did_not_run() -> None:
    """However long the chain of them is."""
    between = {f"m{number}": f"m{number - 1}" for number in range(1, 5000)}
    found = reduced(nodes(m0="", **between), {"model.shop.m0", "model.shop.m4999"})
    assert found["model.shop.m4999"].depends_on == ("model.shop.m0",)


def test_dependencies_in_a_circle() -> None:
    """No manifest has them; if one had, nothing would hang."""
    assert reduced(nodes(a="b", b="c", c="b"), {"model.shop.a"})["model.shop.a"].depends_on == ()


def test_nothing_has_times() -> None:
    """Then there is no path."""
    assert critical_path([NodeResult(3, "model.shop.a", "success", 1.0)], nodes(a="")) == []
