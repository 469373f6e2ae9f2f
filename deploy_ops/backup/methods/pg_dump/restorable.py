"""What a role can save and could not restore, looked for while there is time to do something."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from django.core.checks import CheckMessage, Warning as Caution

from deploy_ops.advice import manage
from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql.server import Connection, quoted, quoted_role
from deploy_ops.databases.postgresql.surroundings import (
    OWNED,
    OWNERS_WITHOUT_CREATE,
    SUPERUSER_OBJECTS,
    SUPERUSER_ONLY,
    giving,
    is_superuser,
    rows_of,
)
from deploy_ops.databases.postgresql.subscriptions import SUBSCRIPTIONS

SHOWN = 5
RESTORE_AS_ADMINISTRATOR = (
    "have somebody with an administrator's account of the server restore, who gives it in "
    "DEPLOY_OPS_DIRECT_DATABASE_URL for that one command"
)
UNTRUSTED = """
    SELECT extname FROM pg_extension JOIN pg_available_extension_versions AS offered
        ON offered.name = extname
    WHERE extname <> 'plpgsql' GROUP BY extname HAVING NOT bool_or(trusted OR NOT superuser)
    ORDER BY extname
"""
NOT_OFFERED = """
    SELECT extname FROM pg_extension
    WHERE extname NOT IN (SELECT name FROM pg_available_extensions) ORDER BY extname
"""
# Owners whose objects this role cannot give back: whether superuser, and the statement that gives
# each object to this role.
NOT_OURS = f"""
    SELECT pg_get_userbyid(owner), rolsuper, kind.type || ' ' || kind.identity
    FROM ({OWNED}) AS owned JOIN pg_roles ON pg_roles.oid = owner,
        pg_identify_object(classid, owned.oid, 0) AS kind
    WHERE NOT pg_has_role(owner, %s)
      AND (classid, owned.oid) NOT IN (SELECT classid, oid FROM ({SUPERUSER_OBJECTS}) AS only_theirs)
    ORDER BY 1, 3
"""
# Options that one may not see are NULL, and pg_dump leaves them out without a word.
HIDDEN_OPTIONS = """
    SELECT format('%s on %s', usename, mapping.srvname) FROM pg_user_mappings AS mapping
        JOIN pg_foreign_server AS far ON far.oid = srvid
    WHERE umoptions IS NULL AND NOT CASE
        WHEN umuser = 0 THEN pg_has_role(srvowner, 'USAGE')
        ELSE usename = current_user AND has_server_privilege(srvid, 'USAGE') END
    ORDER BY 1
"""
SETTINGS = """
    SELECT DISTINCT name FROM pg_db_role_setting, unnest(setconfig) AS given
        JOIN pg_settings ON name = lower(split_part(given, '=', 1))
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND context IN ('superuser', 'superuser-backend')
      AND NOT has_parameter_privilege(name, 'SET') ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Unrestorable:
    """A finding: its id, what it is about, and what to do; plain, since manifests keep it."""

    id: str
    message: str
    cure: str

    def as_json(self) -> Json:
        """The form in a manifest."""
        return asdict(self)

    def as_finding(self) -> CheckMessage:
        """The form in which checks tell it."""
        return Caution(self.message, hint=self.cure, id=f"deploy_ops.{self.id}")


def unrestorable(connection: Connection, alias: str) -> Iterator[Unrestorable]:
    """Look at the connection's database with the eyes of its role; nothing for a superuser.

    It is told by PostgreSQL's own rules. A provider may let a role do more.
    """
    yield from _not_offered(connection)
    if is_superuser(connection):
        return
    yield from _untrusted(connection, alias)
    yield from _owners(connection)
    yield from _without_create(connection)
    yield from _superuser_only(connection, alias)
    yield from _left_out(connection)
    yield from _settings(connection)


def _not_offered(connection: Connection) -> Iterator[Unrestorable]:
    if names := _column(connection, NOT_OFFERED):
        yield Unrestorable(
            "B001",
            f"{_listed('Extension', names)} in use, and the files of it are gone from the server, "
            "so no restore could create it.",
            "Install its package on the server again, or drop it if nothing needs it.",
        )


def _untrusted(connection: Connection, alias: str) -> Iterator[Unrestorable]:
    if names := _column(connection, UNTRUSTED):
        yield Unrestorable(
            "B002",
            f"Only superusers may create {', '.join(names)}, and the role of backups is not a "
            "superuser, so it could not restore this database.",
            _try(alias),
        )


def _owners(connection: Connection) -> Iterator[Unrestorable]:
    rows = connection.execute(NOT_OURS, [giving(connection)]).fetchall()
    owners: dict[tuple[str, bool], list[str]] = {}
    for owner, is_super, thing in rows:
        owners.setdefault((owner, is_super), []).append(thing)
    role = quoted_role(connection)
    for (owner, is_super), things in owners.items():
        cure = (
            f"{owner} is a superuser. Let it give them to another role (ALTER ... OWNER TO {role}) "
            f"or {RESTORE_AS_ADMINISTRATOR}."
            if is_super
            else f"As {owner}'s administrator, run:\n"
            f"    GRANT {quoted(connection, owner)} TO {role};"
        )
        yield Unrestorable(
            "B003",
            f"These belong to {owner}, and the role of backups could not give them back to it: "
            f"{_shown(things)}.",
            cure,
        )


def _without_create(connection: Connection) -> Iterator[Unrestorable]:
    if found := rows_of(connection, OWNERS_WITHOUT_CREATE):
        listed = ", ".join(f"{owner} in schema {schema}" for owner, schema in found)
        yield Unrestorable(
            "B008",
            "These roles own objects in a schema of another role. Only a superuser could give the "
            "objects back to them, since pg_restore sets owners before it grants privileges: "
            f"{listed}.",
            "Give the objects to the owner of the schema (ALTER ... OWNER TO), or "
            f"{RESTORE_AS_ADMINISTRATOR}.",
        )


def _superuser_only(connection: Connection, alias: str) -> Iterator[Unrestorable]:
    found = [f"{kind} {name}" for kind, name in connection.execute(SUPERUSER_ONLY).fetchall()]
    if found:
        yield Unrestorable(
            "B004",
            "Only superusers may create these, and the role of backups is not a superuser: "
            f"{_shown(found)}.",
            _try(alias),
        )


def _left_out(connection: Connection) -> Iterator[Unrestorable]:
    if names := _column(connection, SUBSCRIPTIONS):
        yield Unrestorable(
            "B005",
            f"{_listed('Subscription', names)} not in the backup: only superusers may read where "
            "it gets its data from.",
            "Keep the statement that creates it where the server's set-up is kept.",
        )
    if names := _column(connection, HIDDEN_OPTIONS):
        yield Unrestorable(
            "B006",
            "Options of user mappings that the role of backups may not see, such as the password, "
            f"are not in the backup: {_shown(names)}.",
            "Keep the statements that create them where the server's secrets are kept.",
        )


def _settings(connection: Connection) -> Iterator[Unrestorable]:
    if names := _column(connection, SETTINGS):
        role = quoted_role(connection)
        grants = "".join(
            f"\n    GRANT SET ON PARAMETER {quoted(connection, name)} TO {role};" for name in names
        )
        yield Unrestorable(
            "B007",
            "The database has settings that the role of backups may not set, so a restored "
            f"database would lack them: {', '.join(names)}.",
            f"As the server's administrator, run:{grants}",
        )


def _try(alias: str) -> str:
    verify = manage("backups", "verify", "latest", "--level", "restore", alias=alias)
    return f"Try whether the server allows it:\n{verify}\nIf not, {RESTORE_AS_ADMINISTRATOR}."


def _listed(noun: str, names: list[str]) -> str:
    many = len(names) > 1
    return f"{noun}{'s' if many else ''} {', '.join(names)} {'are' if many else 'is'}"


def _shown(names: list[str]) -> str:
    left = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {left} more" if left > 0 else "")


def _column(connection: Connection, query: str) -> list[str]:
    return [value for (value,) in connection.execute(query).fetchall()]
