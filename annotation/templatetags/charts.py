"""Template filters of static charts: `{{ plot|chart_table }}`, `{{ plot|chart_csv }}` and `{{ bars|bars_csv }}`."""

from __future__ import annotations

from django import template

from annotation.logic import chart_table

register = template.Library()

register.filter("chart_table", chart_table.table)
register.filter("chart_csv", chart_table.csv_uri)
register.filter("bars_csv", chart_table.bars_csv_uri)
