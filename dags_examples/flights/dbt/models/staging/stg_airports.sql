select
    faa as airport,
    name as airport_name,
    lat as latitude,
    lon as longitude,
    alt as altitude_feet,
    tzone as timezone
from {{ source('flights_raw', 'airports') }}
