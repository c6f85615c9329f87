with flights as (

    select
        flight_date,
        origin,
        count(*) as flights,
        count(*) filter (where is_cancelled) as cancelled,
        round(avg(departure_delay), 2) as mean_departure_delay,
        round(avg(arrival_delay), 2) as mean_arrival_delay
    from {{ ref('stg_flights') }}
    group by flight_date, origin

),

weather as (

    select
        local_date,
        airport,
        round(avg(temperature_fahrenheit)::numeric, 1) as mean_temperature_fahrenheit,
        max(wind_miles_per_hour) as strongest_wind_miles_per_hour,
        round(sum(precipitation_inches)::numeric, 2) as precipitation_inches,
        min(visibility_miles) as worst_visibility_miles
    from {{ ref('stg_weather') }}
    group by local_date, airport

)

select
    flights.*,
    weather.mean_temperature_fahrenheit,
    weather.strongest_wind_miles_per_hour,
    weather.precipitation_inches,
    weather.worst_visibility_miles
from flights
left join weather on flights.flight_date = weather.local_date and flights.origin = weather.airport
