"""Whether what the command said is true: every sentence is known, and each claim is compared.

Sentences are parsed from the JSON of the command (`error`, `message`, `recovery.message`) and from
the lines that it printed on the way. A sentence that is not in the tables below fails the test, so
a new one has to be thought about here first.
"""

import json
import re
from dataclasses import dataclass, field

from tests.project.commands import Result
from tests.drills.random_plans.places import Portrait
from tests.drills.random_plans.world import World

STEP = r"plan\.\d{4}_\w+"
STEPS = rf"(?:{STEP}(?:, {STEP})*|{STEP} to {STEP} \(\d+ migrations\))"
RUN = r"\d{8}T\d{6}Z-\w+"
NAME = r"[\w/.-]+"
EVIDENCE = (
    r"(?:PostgreSQL says that its transaction \d+ was rolled back"
    r"|its transaction was rolled back, since the marker that was written in it is gone"
    r"|its transaction had not begun"
    r"|no row of any table and no catalog was changed since it began"
    r"|it only builds or drops indexes, and each is as it was)"
)
DOUBT = (
    r"(?:it ended the transaction that it was run in|its transaction is \w[\w ]*"
    r"|it runs without a transaction(?: \(.+\)|, and [\w, ]+ changed)?"
    r"|index \w+ is not as it was before|how it ended was not found out"
    r"|its code had other connections to the database too)"
)
UNSEEN = (
    r"(?: What its code did elsewhere \(over connections of its own, in other databases, files,"
    r" services\) was not looked at, and sequences stay where it left them\.)?"
)
# What a recovery may say, a line each; the names are those of the claims below.
SENTENCES = {
    "no_migration": r"No migration was begun, so none has to be undone\.",
    "rolled_back": rf"{STEPS} left nothing behind in database {NAME}: {EVIDENCE}\."
    rf" This run committed nothing else there\.{UNSEEN}",
    "reversed": rf"Reversed {STEPS}\. The schema is as it was, compared as a whole\."
    r"(?: No row of a table that was there before was changed by it\.)?"
    rf"(?: Rows of the tables that are gone again are kept in (?P<kept>.+?)\.)?{UNSEEN}",
    "restored": r"Backup (?P<backup>\S+) is live again: every table has as many rows as were backed"
    rf" up\. The failed database is kept as (?P<kept>{NAME}?)\. The schema is as it was\.{UNSEEN}",
    "restored_but": r"Backup (?P<backup>\S+) is live again: every table has as many rows as were"
    rf" backed up\. The failed database is kept as (?P<kept>{NAME}?)\. The schema differs from"
    r" before the run in:",
    "person": r"Manual intervention required\.",
    "not_reversed": r"(?:Not reversed|Reversing stopped): .+",
    "reversed_but": r"Reversed, but the schema differs:",
    "others_wrote": r"Not restored: others wrote since the backup began \((?P<why>.+)\), and"
    r" restoring would lose it\.",
    "unknowable": r"Not restored: whether others wrote since the backup began cannot be known any"
    r" more \(.+\), and restoring could lose it\.",
    "others_may_have": r"Not restored: Others may have written since the backup began \(.+\), and"
    r" restoring would lose it\.(?: Rows inserted, updated or deleted: .+\.)? The live database was"
    r" not swapped, and is open again\. Stop what writes to it, then restore again\.",
    "no_backup": r"Not restored: the run was started with --no-backup\.",
    "not_restored": r"Not restored: .+",
    "still_there": rf"Committed by this run and still there: (?P<steps>none|{STEPS})\.",
    "left_nothing": rf"{STEPS} left nothing behind: {EVIDENCE}\.",
    "unknown": rf"What {STEPS} wrote is not known: {DOUBT}\.(?: It is recorded as done, although it"
    r" failed\.)? Look at its tables before anything runs again\.",
    "schema_equal": r"The schema equals the one before the run\. That says nothing about rows\.",
    "schema_differs": r"The schema differs from before the run in:",
    "difference": r"    [+-].*|    and \d+ more|    the same lines in another order",
    "stopped_looking": r"Looking for a way back stopped: .+",
    "in_journal": r"What is committed stands in the journal: (?P<path>\S+)",
    "next_reads": r"The next run reads it and says what it finds:",
    "journal": r"Journal: (?P<path>\S+)",
    "ways_out": r"Ways out:",
    "restore": r"    python manage\.py restore (?P<backup>\S+) .*",
    "command": r"    python manage\.py \S.*|    SELECT pg_terminate_backend\(\d+\);",
    "finished_but": r"All migrations are applied and committed, and none was undone\. What comes"
    r" after them is missing \(verification, post_migrate, the record of the release\)\. Once the"
    r" cause is fixed, this does it:",
    "finish_again": rf"All migrations of run {RUN} are committed, and none was undone\. What comes"
    r" after them is missing \(post_migrate, the record of the release\)\. Once the cause is fixed,"
    r" this does it:",
    "partially": rf"Run {RUN} ended in the middle of {STEPS}, and what that wrote is not known\."
    r" Running it again could do it twice\. Nothing was changed now\.",
    "stopped": r"Stopped by the operator\.",
    "still_working": rf"Run {RUN} was killed, but the server still works for it: .+",
    "deadlock": r"A second run beside it could deadlock with it\. Nothing was changed\. Wait for it:",
    "or_end_it": r"or end it in psql, which rolls its transaction back:",
    "refused": r"--single-transaction is not possible: .+ Nothing was changed\. Leave the flag out"
    r" to apply one by one\.",
    "lost": r"The database does not answer any more: .+",
    "find_out": r"What was committed stays, and what was open rolls back\. Once it answers, this"
    r" finds out and goes on:",
}
# What is said on the way.
PROGRESS = {
    "applied": rf"Applied {STEPS}(?: \([\d.]+ s(?:, \d+ in one transaction)?\))?",
    "undone": rf"Reversed {STEPS}(?: \([\d.]+ s(?:, \d+ in one transaction)?\))?",
    "no_backup": r"No backup is taken \(--no-backup\), so none can be restored after a failure\.",
    "closed": rf"{NAME} is closed to others; their sessions were ended|{NAME} is open again",
    "verifying": r"Verifying (?:the backup: reading it to its end|backup \S+: hash)",
    "backup": r"Backup \S+ is verified",
    "dropped": r"Dropped the invalid index \w+ that the failed build left",
    "retried": rf"{STEPS}: (?:lock timeout|deadlock).*; rolled back, retry \d+ of \d+ in [\d.]+ s",
    "did_not_end": rf"Run {RUN} did not end \(last step: \w+\)\.",
    "at_work": r"A server process of the killed run is still running: .+",
    "resolved": rf"Run {RUN} is resolved: (?P<outcome>it ended before the first migration was begun\."
    rf"|its (?:backup was restored|safety point was put back)\.|backup \S+ was restored\.|somebody has looked at what it left\."
    rf"|{STEPS} is recorded\.(?: post_migrate was sent, and the release is recorded\.)?"
    rf"|{STEPS} has left nothing behind: {EVIDENCE}\.)(?: Its backup is \S+\.)?",
    "swapping": rf"Swapping the databases; the current one will be renamed to {NAME}",
    "cut_off": rf"A restore of backup \S+ had been cut off\. (?:The live database was not changed;"
    r" what had been made beside it was removed\."
    rf"|The swap had finished; the database before it is kept as {NAME}\."
    rf"|The swap was complete: {NAME} is the restored database\.(?: .+ open again\.)?"
    rf"|The swap had not taken place: {NAME} is the database before the restore\."
    r"(?: .+ open again\.)?)",
    "no_space_known": r"Free disk space on the server is unknown\.",
    "done": r"Done: \d+ migrations? in [\d.]+ s\.|Nothing to do for the requested target\.",
    "finding": r"The models of plan have changes that no migration has\.|Write the migration:"
    r"|    python manage\.py makemigrations|\[deploy_ops\.V004\]"
    r"|Index \w+ on [\w.]+ is invalid: it slows writes, and queries cannot use it\."
    r"|Drop it and run its migration again:|    DROP INDEX CONCURRENTLY .+;"
    r"|\[deploy_ops\.V002\]",
    "command": r"    python manage\.py \S.*",
}


@dataclass
class Said:
    """Sentences by name, as matches in order."""

    ended: Result
    result: dict
    sentences: dict[str, list[re.Match]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.sentences

    def __getitem__(self, name: str) -> re.Match:
        return self.sentences[name][-1]


def parse(ended: Result) -> Said:
    """Read all that was said; AssertionError for a sentence that is not known."""
    assert "Traceback" not in ended.stderr + ended.stdout, ended
    assert ended.code in (0, 1, 3, 4), ended
    said = Said(ended, json.loads(ended.stdout))
    recovery = said.result.get("recovery")
    error = said.result.get("error") if "run" in said.result else None
    message = recovery["message"] if recovery else said.result.get("message") or ""
    # After a lost database the message starts with the error of the step, which is foreign text.
    if "\nThe database does not answer any more" in message:
        message = message[message.index("\nThe database does not answer") + 1 :]
    report = ended.stderr
    for text in filter(None, (error, recovery and recovery["message"], said.result.get("message"))):
        report = report.replace(text, "")
    _match(said, message, SENTENCES)
    _match(said, report, PROGRESS)
    return said


def _match(said: Said, text: str, known: dict[str, str]) -> None:
    is_foreign = False
    for line in text.splitlines():
        names = [(name, m) for name, form in known.items() if (m := re.fullmatch(form, line))]
        # A reason may quote an error of several lines; they end with the next known sentence.
        is_foreign = is_foreign and not names
        assert names or not line.strip() or is_foreign, f"unknown sentence: {line!r}\n{said.ended}"
        if names:
            name, match = names[0]
            said.sentences.setdefault(name, []).append(match)
            is_foreign = name in (
                "not_reversed",
                "not_restored",
                "lost",
                "stopped_looking",
                "retried",
            )


def judge(world: World, ended: Result) -> Said:
    """Compare all that was said with what is there."""
    said = parse(ended)
    everything = {"0001_initial", *(each.name for each in world.plan.migrations)}
    if ended.code == 0:
        _compare(world, said, everything)
    elif ended.code in (1, 3):
        # What an earlier run committed and left to a person has not had its signals yet.
        _compare(world, said, world.before, without_signals=world.before > {"0001_initial"})
    else:
        _judge_manual(world, said, everything)
    return said


def _judge_manual(world: World, said: Said, everything: set[str]) -> None:
    for match in said.sentences.get("journal", []) + said.sentences.get("in_journal", []):
        assert (world.directory / "ops" / "runs") in _parents(match["path"]), said.ended
    if "others_wrote" in said:
        assert world.have_others_acted, f"nobody else was there: {said.ended}"
    committed = world.places.recorded(world.database)
    if "still_there" in said:
        steps = set(re.findall(r"plan\.(\w+)", said["still_there"]["steps"]))
        assert committed - world.before == steps, f"recorded {committed}: {said.ended}"
    if "finished_but" in said:
        _compare(world, said, everything, without_signals=True)
    elif "restored_but" in said:
        _compare(world, said, world.before)
    elif "reversed_but" in said:
        _look_for_acknowledged(world, said)  # it says itself that the schema is another one
    elif "left_nothing" in said or "no_migration" in said:
        _compare(world, said, committed, without_signals=True)  # what it committed is unfinished
    else:
        _look_for_acknowledged(world, said)
    if "schema_equal" in said:
        schema, _ = world.expected(world.before)
        now = world.portrait()
        made = [
            line
            for line in now.differences(schema, ignore=world.failed_deeds)
            if " in " not in line
        ]
        assert not made, f"{made}\n{said.ended}"


def _parents(path: str):
    from pathlib import Path

    return Path(path).parents


def _compare(world: World, said: Said, committed: set[str], without_signals: bool = False) -> None:
    """The live database is the first release, what is committed, and what others did: no more."""
    wanted, homeless = world.expected(committed)
    now = world.portrait()
    ignore = world.failed_deeds + ["auth_permission", "django_content_type"] * without_signals
    differences = now.differences(wanted, ignore=ignore)
    assert not differences, f"false after {sorted(committed)}: {differences}\n{said.ended}"
    kept = str(now.kept)
    for deed in homeless:
        if deed.token:
            assert deed.token in kept, f"{deed} was acknowledged and is lost\n{said.ended}"
            assert (
                "reversed" in said and said["reversed"]["kept"]
            ), f"{deed}: not told\n{said.ended}"
    _check_kept(world, said, now)


def _check_kept(world: World, said: Said, now: Portrait) -> None:
    if "reversed" in said and said["reversed"]["kept"]:
        names = said["reversed"]["kept"].replace('"', "").split(", ")
        assert set(names) <= set(now.kept), f"{now.kept.keys()}: {said.ended}"
    for name in ("restored", "restored_but"):
        if name in said:
            assert world.places.exists(said[name]["kept"]), said.ended


def _look_for_acknowledged(world: World, said: Said) -> None:
    """Where nothing is claimed: what was acknowledged is there, unless the plan's own steps took it."""
    now = world.portrait()
    found = str(now.rows) + str(now.kept)
    taken = {
        home for step in world.plan.migrations for op in step.operations for home in op.destroys
    }
    others_took = {"plan_side"} if any("side_" in d.kind for d in world.acknowledged) else set()
    overwritten = [d.kind for d in world.acknowledged].count("trip_update") > 1
    for deed in world.acknowledged:
        if not deed.token or deed.home in taken | others_took:
            continue
        if deed.kind == "trip_update" and overwritten:
            continue
        assert deed.token in found, f"{deed} was acknowledged and is lost\n{said.ended}"
