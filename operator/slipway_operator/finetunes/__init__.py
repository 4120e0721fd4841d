"""Carries FineTunes out: a Job for each stage, by the same queues, executor and lead as LLMServices."""
