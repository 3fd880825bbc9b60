"""Images fetched by URL."""
