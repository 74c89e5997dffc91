"""Both reports of a conversion, beside its artifacts."""

from typing import Any

from edgex_converters.config import ConvertConfig
from edgex_converters.report.html import write_html
from edgex_converters.report.json import report_of, write_json
from edgex_converters.result import Conversion

JSON_NAME = "report.json"
HTML_NAME = "report.html"


def write_report(conversion: Conversion, config: ConvertConfig) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html`` into the output folder.

    Returns:
        What stands in the JSON file.
    """
    report = report_of(conversion, config)
    write_json(report, config.out / JSON_NAME)
    write_html(report, config.out / HTML_NAME)
    return report
