"""The HTTP endpoints: each takes a request apart, asks the engine, and wraps the answer as dbt Cloud does.

The paths are those of https://docs.getdbt.com/dbt-cloud/api-v2.

    app      all of them, and errors      dependencies  who asks, for which job or run
    catalog  account, projects, …, jobs   lists         filtered, ordered, in pages
    runs     what happens to runs     webhooks      who is told of it
"""
