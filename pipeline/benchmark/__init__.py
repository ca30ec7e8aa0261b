"""How fast the engine is next to the machine it runs on: a fixed model, fixed prompts, counted arithmetic."""
