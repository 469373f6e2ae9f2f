"""The pages. Everybody sees and changes only their own trips; another person's is not found."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required

# get_user_model() is no type, and this project does not swap the model.
from django.contrib.auth.models import User  # pylint: disable=imported-auth-user
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from deploy_ops.flags import flag_required
from kvb.reisekosten.export import csv_lines
from kvb.reisekosten.forms import FahrtForm
from kvb.reisekosten.models import EURO_JE_KM, Fahrt, Summe
from kvb.reisekosten.monat import Monat

require_form_methods = require_http_methods(["GET", "HEAD", "POST"])


class PersonRequest(HttpRequest):
    """A request behind login_required: its user is a person."""

    user: User


@require_safe
@login_required
def heute(_request: HttpRequest) -> HttpResponse:
    """The front door leads to the current month."""
    return _redirect_to_month(Monat.of(timezone.localdate()))


@require_safe
@never_cache
@login_required
def monat_view(request: PersonRequest, jahr: int, monat: int) -> HttpResponse:
    shown = _monat_or_404(jahr, monat)
    fahrten = list(Fahrt.objects.filter(person=request.user).im_monat(shown))
    summe = Summe.of(fahrten)
    context = {"monat": shown, "fahrten": fahrten, "summe": summe, "euro_je_km": EURO_JE_KM}
    return render(request, "reisekosten/monat.html", context)


@require_safe
@never_cache
@login_required
@flag_required("csv_export")
def export_csv(request: PersonRequest, jahr: int, monat: int) -> StreamingHttpResponse:
    """The person's own trips of the month as a download."""
    shown = _monat_or_404(jahr, monat)
    # Read before the answer begins: a database that fails now is an error, not half a file.
    fahrten = list(Fahrt.objects.filter(person=request.user).im_monat(shown))
    return StreamingHttpResponse(
        csv_lines(fahrten),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="reisekosten-{jahr}-{monat:02}.csv"'
        },
    )


@require_form_methods
@never_cache
@login_required
def anlegen(request: PersonRequest) -> HttpResponse:
    return _edit(request, Fahrt(person=request.user, datum=timezone.localdate()))


@require_form_methods
@never_cache
@login_required
def bearbeiten(request: PersonRequest, pk: int) -> HttpResponse:
    return _edit(request, _own_fahrt(request, pk))


@require_form_methods
@never_cache
@login_required
def loeschen(request: PersonRequest, pk: int) -> HttpResponse:
    fahrt = _own_fahrt(request, pk)
    if request.method == "POST":
        fahrt.delete()
        messages.success(request, _("The trip was deleted."))
        return _redirect_to_month(Monat.of(fahrt.datum))
    context = {"fahrt": fahrt, "monat": Monat.of(fahrt.datum)}
    return render(request, "reisekosten/loeschen.html", context)


@require_safe
@never_cache
@login_required
def beleg_view(request: PersonRequest, pk: int) -> FileResponse:
    """The receipt, for the trip's person and for staff who check it."""
    fahrten = Fahrt.objects.exclude(beleg="")
    if not request.user.is_staff:
        fahrten = fahrten.filter(person=request.user)
    fahrt = get_object_or_404(fahrten, pk=pk)
    try:
        return FileResponse(fahrt.beleg.open(), as_attachment=True)
    except FileNotFoundError as error:
        raise Http404(f"the file of trip {pk} is not in the storage") from error


def _monat_or_404(jahr: int, monat: int) -> Monat:
    try:
        return Monat(jahr, monat)
    except ValueError as error:
        raise Http404(str(error)) from error


def _own_fahrt(request: PersonRequest, pk: int) -> Fahrt:
    return get_object_or_404(Fahrt, pk=pk, person=request.user)


def _edit(request: PersonRequest, fahrt: Fahrt) -> HttpResponse:
    # Taken before the form is filled in: a valid date moves the trip to another month.
    monat = Monat.of(fahrt.datum)
    form = FahrtForm(request.POST or None, request.FILES or None, instance=fahrt)
    if request.method == "POST" and form.is_valid():
        saved = form.save()
        messages.success(request, _("The trip was saved."))
        return _redirect_to_month(Monat.of(saved.datum))
    return render(request, "reisekosten/bearbeiten.html", {"form": form, "monat": monat})


def _redirect_to_month(monat: Monat) -> HttpResponse:
    return redirect("reisekosten:monat", monat.jahr, monat.monat)
