"""Apache Airflow provider that joins dlt loads and dbt Cloud jobs.

Importing this package imports neither Airflow nor dlt: DAG files are parsed every few seconds, and each
piece is imported from the module that bears its name.
"""

__version__ = "0.1.0"
