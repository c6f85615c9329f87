{% test in_range(model, column_name, minimum=none, maximum=none) %}
{# Rows whose value is below the minimum or above the maximum. Nulls pass: not_null says what may not be null. #}
select {{ column_name }}
from {{ model }}
where false
    {%- if minimum is not none %} or {{ column_name }} < {{ minimum }}{% endif %}
    {%- if maximum is not none %} or {{ column_name }} > {{ maximum }}{% endif %}
{% endtest %}
