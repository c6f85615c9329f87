"""Some of a source's resources: which they are, how their load is named, and what it keeps to itself."""

import datetime as dt

import dlt
import pytest

from airflow_provider_dbtcloud_dlt.compat import AirflowFailException, AirflowSkipException
from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
from airflow_provider_dbtcloud_dlt.loads.lookup import look_resources_up
from airflow_provider_dbtcloud_dlt.loads.resources import part_name
from airflow_provider_dbtcloud_dlt.operators.dlt_resources import DltListResourcesOperator


def _shop(count=2, **more):
    """A source of two resources, a transformer of one of them, and a resource that is not selected."""

    @dlt.source(name="shop")
    def shop():
        @dlt.resource(name="orders")
        def orders():
            yield [{"id": number, **more} for number in range(count)]

        @dlt.resource(name="users")
        def users():
            yield [{"id": number} for number in range(count)]

        @dlt.transformer(name="user_details", data_from=users)
        def details(items):
            yield [{"id": item["id"], "detail": "x"} for item in items]

        @dlt.resource(name="archive", selected=False)
        def archive():
            yield {"id": 0}

        return orders, users, details, archive

    return shop()


def _table(name):
    return dlt.resource([{"id": 1}], name=name)


@pytest.mark.parametrize(
    ("resources", "tables"),
    [
        (["orders"], {"orders"}),
        (["users", "user_details"], {"users", "user_details"}),
        (["user_details"], {"user_details"}),
        (["archive"], {"archive"}),
    ],
)
def test_selected_resources_are_loaded(load, resources, tables):
    """Those that are named and no other: a transformer runs with its parent, whose table is not loaded."""
    assert set(load(_shop, resources=resources)["rows"]) == tables


@pytest.mark.parametrize(
    "build",
    [
        lambda: [_table("orders"), _table("users")],
        lambda: (_table("orders"), _table("users")),
        lambda: [_shop(), _table("extra")],
        lambda: dlt.source(lambda: [_table("orders"), _table("users")], name="factory"),
    ],
    ids=["list", "tuple", "source and resource", "source that was not called"],
)
def test_whatever_has_resources_can_be_selected_from(load, build):
    """A source function returns sources, resources, or a source yet to be called."""
    assert set(load(build, resources=["orders"])["rows"]) == {"orders"}


def test_a_resource_that_does_not_exist(load):
    """The sentence lists those that do."""
    told = "orders has no resource 'order'. It has: orders, users, user_details, archive"
    with pytest.raises(LoadError, match=told):
        load(_shop, resources=["order"])


def test_rows_have_no_resources(load):
    """Nothing can be selected among plain rows."""
    with pytest.raises(LoadError, match="orders returned rows, which have no resources"):
        load(lambda: [{"id": 1}], resources=["orders"])


def test_a_part_has_a_pipeline_name_of_its_own(load, query):
    """It is made of the resources, and the state at the destination is under it."""
    names = [load(_shop, resources=[one])["pipeline_name"] for one in ("orders", "users")]
    assert names == ["shop__orders", "shop__users"]
    assert query("select distinct pipeline_name from raw._dlt_pipeline_state order by 1") == [
        ("shop__orders",),
        ("shop__users",),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("shop", ["a_b"]), ("shop", ["a", "b"])),
        (("shop", ["a__b"]), ("shop", ["a", "b"])),
        (("shop", ["a-b"]), ("shop", ["a_b"])),
        (("shop", [f"{'x' * 80}1"]), ("shop", [f"{'x' * 80}2"])),
    ],
)
def test_two_parts_never_share_a_name(one, other):
    """Names that would look alike get a digest, and all of them are short enough for dlt."""
    names = part_name(*one), part_name(*other)
    assert names[0] != names[1]
    assert all(name.isidentifier() and len(name) <= 64 for name in names)


def test_the_order_of_resources_does_not_matter():
    """The same resources find the same state."""
    assert part_name("shop", ["users", "orders"]) == part_name("shop", ["orders", "users"])


def test_parts_load_into_the_dataset_of_the_whole(load):
    """Without a name for the dataset it is named after the load, not after its part."""
    datasets = {
        load(_shop, resources=[one], dataset_name=None)["dataset_name"] for one in ("orders", "users")
    }
    assert datasets == {"shop_dataset"}


def test_a_configured_dataset_counts_for_parts_too(load, monkeypatch):
    """What dlt's configuration says is not replaced by the default."""
    monkeypatch.setenv("DATASET_NAME", "configured")
    assert load(_shop, resources=["orders"], dataset_name=None)["dataset_name"] == "configured"


def test_a_part_keeps_its_schema(load, query):
    """Another part that was loaded in between does not make the tables new again: contracts hold."""
    for one in ("orders", "users"):
        load(_shop, resources=[one])
    told = r"break the schema contract.*`orders`.*`colour`"
    with pytest.raises(LoadError, match=told):
        load(lambda: _shop(colour="red"), resources=["orders"], schema_contract={"columns": "freeze"})


def test_each_part_has_its_own_cursor(load, query):
    """Two parts with incremental resources go on each where it ended."""

    def events(upto):
        @dlt.source(name="events")
        def source():
            def rows(seq=dlt.sources.incremental("seq", initial_value=0)):  # noqa: B008
                yield [{"id": n, "seq": n} for n in range(1, upto + 1) if n >= seq.start_value]

            return [dlt.resource(rows, name=name, primary_key="id") for name in ("clicks", "views")]

        return source()

    for upto in (3, 5):
        for one in ("clicks", "views"):
            load(lambda upto=upto: events(upto), resources=[one])
    assert query("select count(*), max(seq) from raw.clicks") == [(5, 5)]
    assert query("select count(*), max(seq) from raw.views") == [(5, 5)]


def _counter(seen):
    @dlt.source(name="counter")
    def counter():
        seen.append(dlt.current.source_state().get("loads", 0))

        @dlt.resource(name="ticks")
        def ticks():
            state = dlt.current.source_state()
            state["loads"] = state.get("loads", 0) + 1
            dlt.current.resource_state()["ticked"] = True
            yield {"n": state["loads"], "ticked": len(dlt.current.resource_state())}

        return ticks

    return counter()


def test_a_part_finds_the_state_under_the_sources_name(load):
    """A source function that reads the state gets what its resource wrote, whatever the schema is called."""
    seen = []
    for _ in range(2):
        load(lambda: _counter(seen), resources=["ticks"])
    assert seen == [0, 1]


@pytest.mark.parametrize("refresh", ["drop_sources", "drop_resources", "drop_data"])
def test_refresh_forgets_a_parts_state(load, query, refresh):
    """What dlt drops with the whole source it drops with a part: a cursor that stays would lose rows."""

    def events():
        @dlt.source(name="events")
        def source():
            def rows(seq=dlt.sources.incremental("seq", initial_value=0)):  # noqa: B008
                yield [{"id": n, "seq": n} for n in range(1, 4) if n >= seq.start_value]

            return dlt.resource(rows, name="clicks", primary_key="id")

        return source()

    load(events, resources=["clicks"])
    load(events, resources=["clicks"], refresh=refresh)
    assert query("select count(*) from raw.clicks") == [(3,)]


def test_a_resources_configuration_is_found(load, query, monkeypatch):
    """A part is configured as the whole source is."""
    monkeypatch.setenv("SOURCES__TEST_SPLIT_LOADS__ORDERS__COLOUR", "red")

    def build():
        @dlt.source(name="shop")
        def shop():
            @dlt.resource(name="orders")
            def orders(colour=dlt.config.value):
                yield {"colour": colour}

            return orders

        return shop()

    load(build, resources=["orders"])
    assert query("select colour from raw.orders") == [("red",)]


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (_shop, [["orders"], ["users", "user_details"]]),
        (lambda: [_table("b"), _table("a")], [["b"], ["a"]]),
        (lambda: _table("a"), [["a"]]),
        (lambda: dlt.source(lambda: [_table("a")], name="factory"), [["a"]]),
        (lambda: _shop().with_resources("user_details"), [["user_details"]]),
    ],
    ids=["source", "resources", "one resource", "source that was not called", "parent not selected"],
)
def test_the_parts_of_a_source_are_looked_up(build, parts):
    """A transformer stays with its parent, and what the source does not select is left out."""
    assert look_resources_up(build, "shop") == parts


def test_looking_up_extracts_nothing():
    """The source is built; its resources do not run."""

    @dlt.resource(name="orders")
    def orders():
        raise AssertionError

    assert look_resources_up(lambda: orders, "shop") == [["orders"]]


def test_a_source_that_reads_its_state_can_be_looked_up():
    """There is no pipeline yet, and the state is empty."""
    assert look_resources_up(lambda: _counter([]), "counter") == [["ticks"]]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: [{"id": 1}], "shop returned rows, which have no resources to tell apart"),
        (lambda: None, "shop returned nothing"),
        (lambda: _shop().with_resources(), "shop selects none of its resources"),
        (lambda: 1 / 0, "shop failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_source_that_cannot_be_split(build, sentence):
    """The sentence says what the function did."""
    with pytest.raises(LoadError, match=sentence):
        look_resources_up(build, "shop")


def test_the_secrets_of_a_source_that_was_looked_up_are_hidden(monkeypatch):
    """The task's log hides what dlt resolved, also when nothing failed."""
    monkeypatch.setenv("SOURCES__TEST_SPLIT_LOADS__SHOP__API_KEY", "the-key-of-the-shop")

    @dlt.source(name="shop")
    def shop(api_key=dlt.secrets.value):
        return _table(f"orders_{len(api_key)}")

    hidden = []
    look_resources_up(shop, "shop", hide=hidden.append)
    assert "the-key-of-the-shop" in hidden


@pytest.mark.parametrize("kind", [AirflowSkipException, AirflowFailException])
def test_what_a_source_that_is_looked_up_asks_of_airflow(kind):
    """It reaches Airflow as it is: a skip is no failure, as with the load."""

    def source():
        raise kind("no data on Sundays")

    with pytest.raises(kind, match="no data on Sundays"):
        DltListResourcesOperator(task_id="ask", source=source).execute({})


def test_a_source_that_is_looked_up_has_the_data_interval():
    """dlt's own call gives it, as in the load."""

    def source():
        start, end = dlt.current.interval()
        return _table(f"orders_{start:%Y_%m}_{end:%Y_%m}")

    month = [dt.datetime(2026, number, 1, tzinfo=dt.UTC) for number in (1, 2)]
    interval = {"data_interval_start": month[0], "data_interval_end": month[1]}
    found = DltListResourcesOperator(task_id="ask", source=source).execute(interval)
    assert found == [["orders_2026_01_2026_02"]]


@pytest.mark.parametrize(
    ("destination", "file"),
    [
        ("duckdb", "shop.duckdb"),
        (lambda: dlt.destinations.sqlalchemy("sqlite:///"), "shop__raw.db"),
    ],
    ids=["duckdb", "sqlite"],
)
def test_parts_load_into_one_file(load, tmp_path, destination, file):
    """Where nothing names a database's file, dlt does so after the pipeline: all parts are in one."""
    for resources in (["orders"], ["users"]):
        assert load(_shop, resources=resources, destination=destination)["row_count"] == 2
    databases = [path.name for path in tmp_path.glob("*.d*b")]
    assert file in databases
    assert not [name for name in databases if "orders" in name or "users" in name]
