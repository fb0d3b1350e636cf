"""How good a model is: retrieval, zero-shot classification, each beside chance and an interval."""
