"""The second runtime: models that vLLM does not serve, run by Transformers behind the same door.

Text-to-text models (T5, BART, Marian), classifiers of texts and of their tokens, cross-encoders, and encoders
that give vectors. Requests are batched as they come.
"""
