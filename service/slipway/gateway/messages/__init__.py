"""Anthropic's Messages API: its fields, its words for a conversation, its answers and events."""
