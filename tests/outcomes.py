"""How a run of a command ends: exit status, stdout and stderr, as the fixtures of commands return them."""


def done(result, *words):
    """Check that a run ended well, and said these things alone."""
    code, _, err = result
    assert code == 0, err
    lines = [line for line in err.splitlines() if line.strip() and "changed in place" not in line]
    assert len(lines) == len(words), err
    for line, word in zip(lines, words, strict=True):
        assert word in line
    return result


def refused(result, *words):
    """Check that a run was refused in one line, which has these words."""
    code, out, err = result
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert (code, out) == (2, ""), err
    assert line.startswith("rectifier apply: "), line
    for word in words:
        assert word in line, line
