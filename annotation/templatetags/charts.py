"""Template filters of static charts: `{{ plot|chart_table }}`, `{{ plot|chart_csv }}` and `{{ bars|bars_csv }}`; of intervals
`{{ chart|interval_table:reference }}` and `{{ chart|interval_csv:reference }}`."""

from __future__ import annotations

from django import template

from annotation.logic import chart_table

register = template.Library()

register.filter("chart_table", chart_table.table)
register.filter("chart_csv", chart_table.csv_uri)
register.filter("bars_csv", chart_table.bars_csv_uri)
register.filter("interval_table", chart_table.interval_table)
register.filter("interval_csv", chart_table.interval_csv_uri)
