{% test unique_together(model, columns) %}
{# Combinations of values that occur more than once. #}
select {{ columns | join(', ') }}
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
