select
    flights.origin,
    flights.dest,
    origins.airport_name as origin_name,
    destinations.airport_name as dest_name,
    max(flights.distance_miles) as distance_miles,
    count(*) as flights,
    count(distinct flights.carrier) as carriers,
    round(avg(flights.is_cancelled::int), 4) as cancelled_share,
    round(avg(flights.departure_delay), 2) as mean_departure_delay,
    round(avg(flights.arrival_delay), 2) as mean_arrival_delay
from {{ ref('stg_flights') }} as flights
left join {{ ref('stg_airports') }} as origins on flights.origin = origins.airport
left join {{ ref('stg_airports') }} as destinations on flights.dest = destinations.airport
group by flights.origin, flights.dest, origins.airport_name, destinations.airport_name
