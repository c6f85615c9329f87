"""A package, so that the Airflow which its tests share ends with the last of them."""
