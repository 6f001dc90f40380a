"""Sampling from a serving engine that gets the policy's weights before each rollout: vLLM by LoRA adapters, SGLang by files."""
