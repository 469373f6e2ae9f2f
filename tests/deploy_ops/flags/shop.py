"""Functions of attributes, as a project has them."""

ASKED = []


def country_of(request, user):
    ASKED.append("country")
    return request.headers.get("X-Country") if request else None


def organisations_of(_request, user):
    ASKED.append("organisation")
    return {"anna": ["acme", "globex"], "bert": ("initech",)}.get(getattr(user, "username", None))


def level_of(_request, user):
    return user and len(user.username)


def broken(_request, _user):
    raise LookupError("the directory does not answer")


NO_FUNCTION = "x"
