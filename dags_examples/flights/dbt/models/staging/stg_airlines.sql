select
    carrier,
    regexp_replace(trim(name), ' (Inc\.|Co\.|Corporation)$', '') as carrier_name
from {{ source('flights_raw', 'airlines') }}
