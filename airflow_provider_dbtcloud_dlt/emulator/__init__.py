"""A local server that speaks the dbt Cloud API v2 and runs real dbt-core: no dbt Cloud account needed.

It is written from the vendor's spec and recorded answers and imports nothing else of this package: a mistake
shared with the client would go unseen. State lives apart from HTTP:

    config    what the YAML file says             clock     real time, or time that a test moves
    store     runs, steps, webhooks in SQLite     scripted  runs that only pretend
    commands  which dbt commands, in which steps  checkout  the project's files, or a commit of them
    dbt       a run's steps with real dbt-core    history   steps, logs, artifacts of runs
    webhooks  who is told of what, and when       outbox    what is sent, and tried again
    outbound  HTTP to receivers of webhooks
    engine    all that happens to a run           slots     who waits, and whose turn it is
    access    tokens, and what they may do        faults    what goes wrong, and when
    queries   what the API accepts                payloads  records → what the API shows
    answers   the form of all answers             api/      the API's endpoints
    admin     faults, time, tokens over HTTP      wire      where faults strike
    pages/    what people see
    service   all of it put together              tls       certificates
    server    the socket                          testing   the emulator inside a test

Start it with ``python -m airflow_provider_dbtcloud_dlt.emulator --help``, or see `testing.emulator`.
"""
