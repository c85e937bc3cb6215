"""Reports of runs: one HTML page that needs nothing else, and plots for papers."""
