"""What dbt's artifacts say, and what a job's steps are made of; pure: nothing here asks the API."""
