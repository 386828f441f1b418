"""Evaluation of what was trained, after or beside the training: what `eval.py` does.

    words --flags--> Order
    a run, a checkpoint, a model --subjects--> Subject: what to load, which text, which settings
                                 --watching--> ... of runs that still train
    Subject --checkpoint_evaluation--> metrics, by the same code as in training
            --harness------> metrics of lm-eval's tasks
    metrics --results--> evals/step-00001000.json, a line of the table, W&B

Training knows nothing of it; the two share only the run's folder (`dlib/runs/ledger.py`). Until `processes` has
launched, nothing heavy is imported.
"""
