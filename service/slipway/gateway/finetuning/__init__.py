"""OpenAI's fine-tuning API: jobs kept in the database, each of them carried out as one FineTune."""
