"""Results as one offline HTML page, CSV and JSON, from plain rows."""

from prunelle.report.page import write_page
from prunelle.report.rows import Report, write_csv, write_json

__all__ = ["Report", "write_csv", "write_json", "write_page"]
