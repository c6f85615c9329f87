"""A local server that speaks the dbt Cloud API v2 and runs real dbt-core: no dbt Cloud account needed.

It is written from the vendor's spec and recorded answers and imports nothing else of this package: a mistake
shared with the client would go unseen. State lives apart from HTTP:

    config   what the YAML file says              clock     real time, or time that a test moves
    store    runs and steps in SQLite             scripted  runs that only pretend
    commands which dbt commands, as which steps   dbt       a run's steps with real dbt-core
    engine   queue, slots, cancel, retry: all that happens to a run
    payloads records → what the API shows         queries   what the API accepts
    views    records → what the pages show        filters   what the list of runs accepts
    results  what a run_results.json says
    api, pages, wire, server: HTTP                testing   the emulator inside a test

Start it with ``python -m airflow_provider_dbtcloud_dlt.emulator --help``, or see `testing.emulator`.
"""
