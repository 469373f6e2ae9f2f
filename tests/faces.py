"""The packages that export public names."""

from tests.docs.console import ROOT

FACES = sorted(
    path.parent.name
    for path in (ROOT / "deploy_ops").glob("*/__init__.py")
    if "import_when_asked(" in path.read_text(encoding="utf-8")
)
