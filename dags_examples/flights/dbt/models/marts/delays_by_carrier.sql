select
    flights.carrier,
    airlines.carrier_name,
    count(*) as flights,
    round(avg(flights.is_cancelled::int), 4) as cancelled_share,
    round(avg(flights.departure_delay), 2) as mean_departure_delay,
    round(avg(flights.arrival_delay), 2) as mean_arrival_delay,
    round(avg(planes.seats), 1) as mean_seats
from {{ ref('stg_flights') }} as flights
left join {{ ref('stg_airlines') }} as airlines using (carrier)
left join {{ ref('stg_planes') }} as planes using (tailnum)
group by flights.carrier, airlines.carrier_name
