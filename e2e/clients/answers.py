"""What a client is answered, held against what is expected, and against what psycopg is answered."""

import math

import psycopg


def by_psycopg(connection, statement):
    cursor = psycopg.RawCursor(connection)
    cursor.execute(statement.sql, statement.arguments or None)
    return cursor.fetchall() if cursor.description else []


def alike(rows, others):
    """Whether they are the same, in any order, but for how sums of fractions were rounded."""

    def texts(row):
        return [value for value in row if isinstance(value, str)]

    def same(one, other):
        return math.isclose(one, other) if isinstance(other, float) else one == other

    if [len(row) for row in rows] != [len(row) for row in others]:
        return False
    pairs = zip(sorted(rows, key=texts), sorted(others, key=texts))
    return all(same(*values) for row, other in pairs for values in zip(row, other))


def failures(connection, statements, ask):
    """How many are answered otherwise than expected, or than by `connection`, which is psycopg's; says which."""
    failed = 0
    for statement in statements:
        try:
            rows, others = ask(statement), by_psycopg(connection, statement)
            assert statement.is_expected(rows), f"not {rows[:10]}"
            assert alike(rows, others), f"{rows[:10]} where psycopg has {others[:10]}"
        except Exception as error:  # Each client has its own.
            failed += 1
            print(f"{statement.sql}\n  fails: {error}")
    return failed
