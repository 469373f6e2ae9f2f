"""`{% load flags %}{% flag "csv_export" %}new{% else %}old{% endflag %}`."""

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context

from deploy_ops.flags.evaluation import flag_enabled

register = template.Library()


@register.tag
def flag(parser: Parser, token: Token) -> "FlagNode":
    """What stands before `else` if the flag is on for the request's user, else what follows it."""
    words = token.split_contents()
    if len(words) != 2:
        raise template.TemplateSyntaxError(f'{words[0]} takes one name: {{% flag "csv_export" %}}')
    when_on = parser.parse(("else", "endflag"))
    when_off = NodeList()
    if parser.next_token().contents == "else":
        when_off = parser.parse(("endflag",))
        parser.delete_first_token()
    return FlagNode(parser.compile_filter(words[1]), when_on, when_off)


class FlagNode(template.Node):
    """The compiled tag."""

    child_nodelists = ("when_on", "when_off")

    def __init__(self, name: FilterExpression, when_on: NodeList, when_off: NodeList) -> None:
        self.name = name
        self.when_on = when_on
        self.when_off = when_off

    def render(self, context: Context) -> str:
        """Render one of the two; without a request in the context, ask for its `user`."""
        name = str(self.name.resolve(context))
        request = context.get("request")
        # A page may call somebody else `user`, so that the request's own one comes first.
        is_on = flag_enabled(name, request, None if request else context.get("user"))
        return (self.when_on if is_on else self.when_off).render(context)
