"""Checks of fields, with errors that show what was received."""


def check(condition, message, **received):
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"{message} Received: {values}.")


def check_choice(name, value, choices):
    check(value in choices, f"`{name}` must be one of {', '.join(map(repr, choices))}.", **{name: value})
