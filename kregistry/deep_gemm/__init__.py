"""All that is known of DeepGEMM: its version, environment, cache layout, generated sources and process settings."""
