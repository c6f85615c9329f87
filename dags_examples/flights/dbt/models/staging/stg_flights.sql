-- A table: flights that are loaded while dbt builds are in all marts or in none.
{{ config(materialized='table') }}

select
    date as flight_date,
    carrier,
    flight,
    origin,
    dest,
    tailnum,
    time_hour as scheduled_hour,
    dep_delay as departure_delay,
    arr_delay as arrival_delay,
    dep_time is null as is_cancelled,
    air_time as air_minutes,
    distance as distance_miles
from {{ source('flights_raw', 'flights') }}
