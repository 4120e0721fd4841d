"""Which model to begin with: what fits which device, for serving and for each way of training, and why.

Nothing here imports a training library but `baseline`.
"""
