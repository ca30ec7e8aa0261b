"""Many prompts: configuration, prompts, shards, workers and the driver. Ray is used only here."""
