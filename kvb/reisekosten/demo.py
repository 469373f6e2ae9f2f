"""Trips to try the application with: a few for a person to look at, or millions to measure with."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import permutations

from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from kvb.reisekosten.models import Fahrt, erstattung_of
from kvb.reisekosten.monat import Monat

LOGIN = "demo"
PASSWORD = "reisekosten-demo"

# Day of the month, from, to, kilometres, purpose.
TRIPS = (
    (1, "Köln", "Bonn", "28.50", "Auftaktgespräch Stadtwerke"),
    (4, "Köln", "Düsseldorf", "41.20", "Schulung Abrechnung"),
    (9, "Bonn", "Koblenz", "63.75", "Vertragsverhandlung"),
    (9, "Koblenz", "Bonn", "63.75", "Rückfahrt"),
    (16, "Köln", "Aachen", "71.05", "Ortstermin Baustelle"),
    (23, "Köln", "Leverkusen", "17.90", "Übergabe Unterlagen"),
)
TOWNS = ("Köln", "Bonn", "Düsseldorf", "Aachen", "Koblenz", "Essen", "Siegen", "Trier")
PURPOSES = ("Kundentermin", "Schulung", "Ortstermin", "Messe", "Übergabe", "Besprechung")
BULK_PEOPLE = 100
BULK_YEARS = 5
BULK_COLUMNS = ("person_id", "datum", "von", "nach", "km", "erstattung", "zweck", "beleg")
# Big enough that Python's overhead per block vanishes, small enough to stay under 10 MB.
BLOCK_ROWS = 20_000

User = get_user_model()
Row = tuple[str, ...]


@transaction.atomic
def load_demo(today: date) -> int:
    """The demo person and their trips up to `today`; returns how many trips are new."""
    person = User.objects.get_or_create(username=LOGIN)[0]
    # It may enter the admin too, so that one login shows everything.
    person.is_staff = person.is_superuser = True
    person.first_name, person.last_name = "Dana", "Demo"
    person.set_password(PASSWORD)
    person.save()
    return sum(
        Fahrt.objects.get_or_create(
            person=person, datum=day, von=von, nach=nach, zweck=zweck, defaults={"km": Decimal(km)}
        )[1]
        for day, von, nach, km, zweck in _trips_until(today)
    )


def has_demo_person() -> bool:
    return User.objects.filter(username=LOGIN).exists()


def load_rows(rows: int, *, alias: str = DEFAULT_DB_ALIAS) -> None:
    """Add `rows` random trips of BULK_PEOPLE people, the same ones for the same `rows`."""
    blocks = _random_blocks(rows, _bulk_people(alias), date.today())
    with transaction.atomic(using=alias):
        if connections[alias].vendor == "postgresql":
            _copy(alias, blocks)
        else:
            _insert(alias, blocks)


def _trips_until(today: date) -> Iterator[tuple[date, str, str, str, str]]:
    this_month = Monat.of(today)
    for monat in (this_month, this_month.previous):
        if monat is None:
            continue
        for day, *trip in TRIPS:
            if (datum := monat.first_day.replace(day=day)) <= today:
                von, nach, km, zweck = trip
                yield datum, von, nach, km, zweck


def _bulk_people(alias: str) -> list[str]:
    names = [f"demo-{number:03}" for number in range(BULK_PEOPLE)]
    people = User.objects.using(alias)
    # "!" is Django's mark of an account nobody can log in to.
    people.bulk_create([User(username=name, password="!") for name in names], ignore_conflicts=True)
    ids = people.filter(username__in=names).order_by("pk").values_list("pk", flat=True)
    return [str(person_id) for person_id in ids]


def _random_blocks(rows: int, people: list[str], today: date) -> Iterator[list[Row]]:
    """The rows in blocks. Whole trips are drawn, since a draw per column takes most of the time."""
    chance = random.Random(rows)
    days = [str(today - timedelta(days=back)) for back in range(BULK_YEARS * 365)]
    trips = [
        (von, nach, km, str(erstattung_of(Decimal(km))), zweck, "")
        for von, nach in permutations(TOWNS, 2)
        for zweck in PURPOSES
        for km in _random_distances(chance, 10)
    ]
    for done in range(0, rows, BLOCK_ROWS):
        size = min(BLOCK_ROWS, rows - done)
        columns = (chance.choices(values, k=size) for values in (people, days))
        drawn = chance.choices(trips, k=size)
        yield [(person, day, *trip) for person, day, trip in zip(*columns, drawn, strict=True)]


def _random_distances(chance: random.Random, count: int) -> Iterator[str]:
    for _ in range(count):
        yield f"{chance.randrange(1, 500)}.{chance.randrange(100):02}"


def _copy(alias: str, blocks: Iterator[list[Row]]) -> None:
    """No value contains a tab, newline or backslash, so lines need no escaping."""
    sql = f"COPY {Fahrt._meta.db_table} ({', '.join(BULK_COLUMNS)}) FROM STDIN"
    with connections[alias].cursor() as cursor, cursor.copy(sql) as copy:
        for block in blocks:
            copy.write("".join("\t".join(row) + "\n" for row in block))


def _insert(alias: str, blocks: Iterator[list[Row]]) -> None:
    marks = ", ".join(["%s"] * len(BULK_COLUMNS))
    sql = f"INSERT INTO {Fahrt._meta.db_table} ({', '.join(BULK_COLUMNS)}) VALUES ({marks})"
    with connections[alias].cursor() as cursor:
        for block in blocks:
            cursor.executemany(sql, block)
