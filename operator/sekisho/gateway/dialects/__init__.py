"""The wire shapes that callers speak, and the one internal form behind them: OpenAI bodies of allowed fields. Pure."""
