"""From a model's config.json to its manifest: families, engines, settings."""
