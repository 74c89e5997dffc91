"""What a conversion tells: report.json and report.html from the same data."""
