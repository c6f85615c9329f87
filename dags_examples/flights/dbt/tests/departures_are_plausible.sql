-- A flight that left more than two hours early, or arrived without having left, is a mistake of the load.
select *
from {{ ref('stg_flights') }}
where departure_delay < -120
    or (is_cancelled and arrival_delay is not null)
