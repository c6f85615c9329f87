-- Each mart counts every flight once: a join that multiplies or drops flights shows here.
with counts as (

    select 'delays_by_carrier' as mart, sum(flights) as flights from {{ ref('delays_by_carrier') }}
    union all
    select 'delays_by_route' as mart, sum(flights) as flights from {{ ref('delays_by_route') }}
    union all
    select 'daily_summary' as mart, sum(flights) as flights from {{ ref('daily_summary') }}

)

select counts.*
from counts
where counts.flights <> (select count(*) from {{ ref('stg_flights') }})
