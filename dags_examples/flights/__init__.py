"""What the flights DAGs run: the dlt source and, in ``dbt/``, the dbt project."""
