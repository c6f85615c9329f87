"""What a dlt task does when it runs.

These modules import dlt at their top, so operators and decorators import them only inside ``execute``: a DAG
file is parsed every few seconds and must not pay for it. They know nothing of Airflow: the task's log and the
way to hide a secret in it are handed in.
"""
