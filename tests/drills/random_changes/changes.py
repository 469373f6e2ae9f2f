"""Random releases of an app: models before and after a change, as source."""

from dataclasses import dataclass

from hypothesis import strategies as st

# By kind of value: types, each with what a default of Python and one of the database look like.
TYPES = {
    "text": [
        ("CharField", "max_length=20"),
        ("CharField", "max_length=50"),
        ("TextField", ""),
    ],
    "number": [
        ("SmallIntegerField", ""),
        ("IntegerField", ""),
        ("PositiveIntegerField", ""),
        ("BigIntegerField", ""),
    ],
    "amount": [
        ("DecimalField", "max_digits=8, decimal_places=2"),
        ("DecimalField", "max_digits=10, decimal_places=2"),
        ("DecimalField", "max_digits=10, decimal_places=4"),
    ],
    "truth": [("BooleanField", "")],
    "moment": [("DateTimeField", "")],
    "token": [("UUIDField", "")],
    "customer": [("ForeignKey", "Customer, models.CASCADE, related_name='+'")],
}
DEFAULTS = {
    "text": "'-'",
    "number": "7",
    "amount": "7",
    "truth": "False",
    "moment": "timezone.now",
    "token": "uuid.uuid4",
}
DB_DEFAULTS = {
    "text": "'-'",
    "number": "7",
    "amount": "7",
    "truth": "False",
    "moment": "functions.Now()",
}
NAMES = ("note", "Größe", "order", "pieces")
CUSTOMER = """
class Customer(models.Model):
    name = models.CharField(max_length=50)
"""


@dataclass(frozen=True)
class Field:
    """A field of one release."""

    name: str
    kind: str
    type: tuple[str, str]
    null: bool = False
    unique: bool = False
    index: bool = False
    default: bool = False
    db_default: bool = False

    @property
    def source(self) -> str:
        """Its line in the model."""
        words = [self.type[1]] if self.type[1] else []
        words += ["null=True"] * self.null + ["unique=True"] * self.unique
        words += ["db_index=True"] * (self.index and not self.unique)
        words += [f"default={DEFAULTS.get(self.kind)}"] * self.default
        words += [f"db_default={DB_DEFAULTS.get(self.kind)}"] * self.db_default
        return f"    {self.name} = models.{self.type[0]}({', '.join(words)})\n"


@dataclass(frozen=True)
class Release:
    """The models of one release."""

    fields: tuple[Field, ...]
    constraints: tuple[str, ...]
    indexes: tuple[str, ...]
    has_line: bool

    @property
    def source(self) -> str:
        """models.py."""
        text = (
            f"{CUSTOMER}\n\nclass Order(models.Model):\n    km = models.IntegerField(default=1)\n"
        )
        text += "".join(each.source for each in self.fields)
        text += "\n    class Meta:\n"
        text += f"        constraints = [{', '.join(self.constraints)}]\n"
        text += f"        indexes = [{', '.join(self.indexes)}]\n"
        if self.has_line:
            text += "\n\nclass Line(models.Model):\n    order = models.ForeignKey(Order, models.CASCADE)"
        return text + "\n"


@dataclass(frozen=True)
class Change:
    """Two releases, and the statements before which the two phases are killed (0: none)."""

    old: Release
    new: Release
    kills: tuple[int, int]


@st.composite
def forms(draw, name: str, kind: str, *, is_new: bool) -> Field:
    """A field of that kind; one that is new has something for the rows that are there."""
    is_key = kind == "customer"
    null = draw(st.booleans()) or (is_new and is_key)
    default = not is_key and draw(st.booleans())
    db_default = kind in DB_DEFAULTS and not default and draw(st.booleans())
    if is_new and not (null or default or db_default):
        null = True
    unique = draw(st.integers(0, 4)) == 0 and kind in ("text", "number", "token")
    if unique and kind != "token":
        default = db_default = False
        null = null or is_new
    index = not is_key and draw(st.integers(0, 4)) == 0
    type_ = draw(st.sampled_from(TYPES[kind]))
    return Field(name, kind, type_, null, unique, index, default, db_default)


@st.composite
def changes(draw) -> Change:
    """Two releases of the same app."""
    old, new = [], []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3)):
        kind = draw(st.sampled_from(sorted(TYPES)))
        what = draw(st.sampled_from(["comes", "goes", "changes", "changes"]))
        before = draw(forms(name, kind, is_new=False))
        after = draw(forms(name, kind, is_new=what == "comes"))
        if what == "changes" and before.null and not after.null and not after.default:
            after = before  # a question, which --noinput does not answer
        old += [before] * (what != "comes")
        new += [after] * (what != "goes")
    return Change(
        _release(draw, old),
        _release(draw, new),
        (draw(st.integers(0, 120)), draw(st.integers(0, 120))),
    )


def _release(draw, fields: list[Field]) -> Release:
    names = [each.name for each in fields]
    constraints = [
        "models.CheckConstraint(condition=models.Q(km__gt=-5), name='far')",
        *(
            f"models.UniqueConstraint(fields=['id', {name!r}], name='one_{number}')"
            for number, name in enumerate(names)
        ),
    ]
    indexes = [
        f"models.Index(fields=[{name!r}, 'km'], name='by_{number}')"
        for number, name in enumerate(names)
    ]
    return Release(
        tuple(fields),
        tuple(each for each in constraints if draw(st.booleans())),
        tuple(each for each in indexes if draw(st.integers(0, 3)) == 0),
        draw(st.booleans()),
    )
