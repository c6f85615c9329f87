select
    tailnum,
    year as year_built,
    manufacturer,
    model,
    engines,
    seats
from {{ source('flights_raw', 'planes') }}
