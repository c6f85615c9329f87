"""The host name that Airflow goes by, where several of its processes play containers of one machine."""

import os


def container_name() -> str:
    """The name that the process was given, as a container gets its own in ``HOSTNAME``."""
    return os.environ["HOSTNAME"]
