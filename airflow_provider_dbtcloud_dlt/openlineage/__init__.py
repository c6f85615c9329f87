"""OpenLineage's events of what a dbt Cloud run has done, with the extra ``openlineage`` and if it is on.

`artifacts` reads what dbt has left, `mending` puts it as OpenLineage's own processor for dbt needs it,
`processor` lets that make the events, `namespace` says which database it was, `task` speaks with Airflow's
OpenLineage provider, and `lineage` puts all that together. No DAG file needs any of it.
"""
