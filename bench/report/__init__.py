"""What is made of the measurements: the report as data, its rows, tables, plots and page, and `compare`."""
