select
    origin as airport,
    time_hour as observed_at,
    date as local_date,
    temp as temperature_fahrenheit,
    wind_speed as wind_miles_per_hour,
    precip as precipitation_inches,
    visib as visibility_miles
from {{ source('flights_raw', 'weather') }}
