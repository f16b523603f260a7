"""The report on the claims: figures, and one HTML page that needs no network."""
