"""How dlt looks its configuration up in Airflow's Variables."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.airflow import AirflowSecretsTomlProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

_ONLY_SECRETS = "providers.airflow_secrets.only_secrets"


@contextmanager
def thrifty_variables() -> Iterator[None]:
    """Let dlt ask Airflow only for what may be a secret while a load runs.

    By default dlt asks for a Variable for every configuration value that is not set elsewhere: hundreds of
    requests to Airflow's API server for a load of three rows, several seconds of it. What people keep in
    Variables is still found: ``dlt_secrets_toml``, the TOML documents of a source or a destination, and
    each secret by its own name. Whoever keeps plain settings in single Variables sets ``only_secrets =
    false`` in the section ``[providers.airflow_secrets]`` of dlt's configuration, which is obeyed as is any
    other value there.

    See https://dlthub.com/docs/general-usage/credentials/vaults.
    """
    with warnings.catch_warnings():
        # dlt reads Variables and the context by names that Airflow 3 deprecates but serves. Whoever runs the
        # task can't change it. For an import, Airflow's warning is a FutureWarning.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=r"(?s).*airflow\.(models|operators)", category=category)
        providers = Container()[PluggableRunContext].providers.providers
        provider = next((p for p in providers if isinstance(p, AirflowSecretsTomlProvider)), None)
        if provider is None or dlt.config.get(_ONLY_SECRETS) is not None:
            yield
            return
        before, provider.only_secrets = provider.only_secrets, True
        try:
            yield
        finally:
            provider.only_secrets = before
