"""Pages that people look at: report.html of a run, index.html of a folder of runs, and what notebooks show."""
