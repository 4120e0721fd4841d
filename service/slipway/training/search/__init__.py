"""Several trainings with different hyperparameters, of which the best is kept.

runs/NAME/
  search/study.log        Optuna's journal: parameters, evaluations and end of every trial
  search/trials.json      the same for people and for `slipway finetune trials` (`Board`)
  search/report.html      the table and the pictures
  trials/TRIAL/           one trial: trial.json (what it is to do), reports.jsonl, result.json, log.txt,
                          progress.json, metrics.jsonl, events.jsonl, train/
"""
