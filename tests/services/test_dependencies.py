"""What the service depends on is asked, shown, and logged when that changes."""

import logging

from services.serving.dependencies import Dependencies


def test_what_does_not_answer_is_told_each_time_and_logged_once(caplog):
    reachable = False
    told = []

    def mlflow():
        if not reachable:
            raise ConnectionError("nobody is there")

    dependencies = Dependencies(
        {"mlflow": mlflow, "object_store": lambda: True}, lambda name, answers: told.append((name, answers))
    )
    with caplog.at_level(logging.INFO, logger="ray.serve"):
        dependencies.ask()
        dependencies.ask()
        assert told == 2 * [("mlflow", False), ("object_store", True)]
        reachable = True
        dependencies.ask()
    assert told[4:] == [("mlflow", True), ("object_store", True)]
    assert [record.getMessage() for record in caplog.records] == [
        "mlflow does not answer: ConnectionError: nobody is there",
        "mlflow answers again",
    ]
