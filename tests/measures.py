"""What sweeps measure besides: a function that workers can import, for test_training_sweep.py."""


def right(setup, trained):
    """Accuracies after each epoch, and what a column could be of the network."""
    network, data, result = trained
    return {
        "curve": list(result.validation_accuracy),
        "right": int((network.predict(data.test.x) == data.test.y).sum()),
        "rate": setup.learning_rate,
    }
